#include "local.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "channels.h"
#include "devices.h"
#include "lockdown.h"
#include "log.h"
#include "../protocol/slice.h"
#include "spin.h"
#include "supervisor.h"

struct options {
  int control, doorbell, memory;
  const char *events;
};

static int fail(const char *what, int error) {
  fprintf(stderr, "postern-agent local: %s: %s\n", what, strerror(error));
  return EXIT_FAILURE;
}

static int descriptor_of(const char *text) {
  char *end;
  long value = strtol(text, &end, 10);
  bool is_descriptor = *text && !*end && value > 2 && value < 65536 && fcntl((int)value, F_GETFD) >= 0;
  if (is_descriptor) fcntl((int)value, F_SETFD, FD_CLOEXEC);
  return is_descriptor ? (int)value : -1;
}

static int parse(int count, char **arguments, struct options *options) {
  static const struct option known[] = {{"control", required_argument, NULL, 'c'}, {"doorbell", required_argument, NULL, 'd'},
                                        {"memory", required_argument, NULL, 'm'},  {"events", required_argument, NULL, 'e'},
                                        {NULL, 0, NULL, 0}};
  *options = (struct options){-1, -1, -1, NULL};
  int option;
  while ((option = getopt_long(count, arguments, "", known, NULL)) != -1) {
    switch (option) {
      case 'c': options->control = descriptor_of(optarg); break;
      case 'd': options->doorbell = descriptor_of(optarg); break;
      case 'm': options->memory = descriptor_of(optarg); break;
      case 'e': options->events = optarg; break;
      default: return -EINVAL;
    }
  }
  bool complete = options->control >= 0 && options->doorbell >= 0 && options->memory >= 0 && options->events;
  return complete && optind == count ? 0 : -EINVAL;
}

/* One eventfd a channel, separated by commas. */
static int parse_events(struct domain *domain, const char *text) {
  char copy[1024], *rest = copy;
  if (strlen(text) >= sizeof copy) return -EINVAL;
  strcpy(copy, text);
  for (uint32_t i = 0; i < domain->channels; i++) {
    char *number = strsep(&rest, ",");
    domain->events[i] = number ? descriptor_of(number) : -1;
    if (domain->events[i] < 0) return -EINVAL;
  }
  return rest == NULL ? 0 : -EINVAL;
}

int local_main(int count, char **arguments) {
  static struct domain domain = {.kind = DOMAIN_LOCAL};
  struct options options;
  bool has_tun = false;
  struct rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  int result = parse(count, arguments, &options);
  if (result != 0) return fail("--control, --doorbell, --memory and --events must name inherited descriptors", -result);
  domain.control = options.control;
  domain.doorbell = options.doorbell;
  result = channels_map(&domain, options.memory);
  if (result != 0) return fail("--memory must be a memfd of 1 to 32 channels", -result);
  close(options.memory);
  result = parse_events(&domain, options.events);
  if (result != 0) return fail("--events must name one eventfd a channel", -result);
  if (log_open() != 0) return fail("no log pipe", errno);
  spin_calibrate();
  struct json devices = devices_list_local(&has_tun);
  domain.devices = devices.text;
  domain.devices_bytes = devices.length;
  postern_take_short_turns();
  lockdown_enter(&domain, has_tun);
  const char *reason = supervisor_run(&domain);
  (void)reason; /* the host has gone: there is nobody to tell */
  return EXIT_SUCCESS;
}
