/* A program of a guest VM that has become root of it: it maps the whole aperture, looks whether anything of anybody's is there, and fills
 * it, the control page included, with whatever comes. */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONTROL_BYTES (1u << 20)
#define PAGE_BYTES 4096u

static int open_aperture(void) {
  DIR *directory = opendir("/sys/bus/pci/devices");
  struct dirent *entry;
  while (directory && (entry = readdir(directory))) {
    char path[512], id[16] = "";
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/device", entry->d_name);
    int file = open(path, O_RDONLY);
    if (file < 0) continue;
    ssize_t length = read(file, id, sizeof id - 1);
    close(file);
    if (length < 6 || strncmp(id, "0x1110", 6) != 0) continue;
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/resource2", entry->d_name);
    return open(path, O_RDWR);
  }
  return -1;
}

int main(void) {
  static const uint8_t empty[PAGE_BYTES];
  struct stat st;
  int file = open_aperture();
  if (file < 0 || fstat(file, &st) != 0) {
    perror("the aperture");
    return 1;
  }
  uint8_t *aperture = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (aperture == MAP_FAILED) {
    perror("mmap of the aperture");
    return 1;
  }
  unsigned full = 0;
  for (off_t at = CONTROL_BYTES; at < st.st_size; at += PAGE_BYTES) full += memcmp(aperture + at, empty, PAGE_BYTES) != 0;
  printf("pages that were not empty: %u\n", full);
  srandom(7);
  for (unsigned round = 0; round < 2000000; round++) {
    uint32_t word = (uint32_t)random();
    memcpy(aperture + (size_t)random() % CONTROL_BYTES / 4 * 4, &word, sizeof word);
  }
  for (off_t at = CONTROL_BYTES; at < st.st_size; at += PAGE_BYTES) aperture[at] = 0x5a;
  puts("scribbled");
  return 0;
}
