/* The backend agent: runs beside the driver and performs the operations that the host has granted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "local.h"
#include "vm.h"

int main(int count, char **arguments) {
  if (count >= 2 && strcmp(arguments[1], "local") == 0) return local_main(count - 1, arguments + 1);
  /* The VM's kernel starts its /init with arguments of its own, so being PID 1 is what counts. */
  if (getpid() == 1) vm_main();
  fprintf(stderr, "usage: postern-agent local --control FD --doorbell FD --memory FD --events FD,...\n"
                  "       postern-agent vm (as PID 1 of a driver VM)\n");
  return EXIT_FAILURE;
}
