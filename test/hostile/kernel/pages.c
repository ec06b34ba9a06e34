// SPDX-License-Identifier: GPL-2.0-only
/* The aperture's pages: another guest's, those that were this guest's once, and the control page. */
#include <linux/io.h>
#include <linux/random.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "hostile.h"

#define OWN_FILE 21u
#define MARK 0x5eedf00ddeadbeefull

static u64 pages_with(const char *text, u64 *full) {
  const size_t length = strlen(text);
  u64 at, found = 0;

  *full = 0;
  for (at = POSTERN_VM_CONTROL_BYTES; at < hostile.aperture_bytes; at += PAGE_SIZE) {
    if (!memchr_inv(hostile.aperture + at, 0, PAGE_SIZE)) continue;
    (*full)++;
    found += length > 0 && strnstr(hostile.aperture + at, text, PAGE_SIZE) != NULL;
  }
  return found;
}

static void pages_of_others(void) {
  u64 full, found = pages_with(secret, &full);

  if (!secret[0]) IMPOSSIBLE("no other guest has told its secret");
  if (found || full) SUCCEEDED("%llu pages are not empty, %llu of them have the other guest's secret", full, found);
  STOPPED("%llu pages, all empty", (hostile.aperture_bytes - POSTERN_VM_CONTROL_BYTES) >> PAGE_SHIFT);
}

/* A buffer of the camera's, mapped: the offset in the aperture, or a negative errno. Its bytes go to `bytes`. */
static s64 map_buffer(u64 *bytes) {
  u32 request[5] = {1, 1, 1}; /* one buffer; V4L2_BUF_TYPE_VIDEO_CAPTURE; V4L2_MEMORY_MMAP */
  u8 query[88] = {0};
  struct postern_vm_request map;
  s64 got;

  if (copy_to_user((void __user *)hostile.user, request, sizeof request)) return -EFAULT;
  got = command_on(OWN_FILE, REQBUFS, hostile.user);
  if (got < 0) return got;
  *(u32 *)(query + 4) = 1;
  if (copy_to_user((void __user *)hostile.user, query, sizeof query)) return -EFAULT;
  got = command_on(OWN_FILE, QUERYBUF, hostile.user);
  if (got < 0 || copy_from_user(query, (void __user *)hostile.user, sizeof query)) return got < 0 ? got : -EFAULT;
  map = request_of(POSTERN_VM_MMAP, OWN_FILE);
  *bytes = PAGE_ALIGN(*(u32 *)(query + 72));
  map.length = *bytes;
  map.offset = *(u32 *)(query + 64);
  map.command = 3;
  return perform(map, NULL).value;
}

static void unmap(s64 offset) {
  struct postern_vm_request request = request_of(POSTERN_VM_MUNMAP, OWN_FILE);

  request.argument = offset;
  (void)perform(request, NULL);
}

/* Whether any page of the run is still the driver's: what is written there is seen again after another mapping. */
static void pages_after_unmapping(void) {
  u64 bytes = 0, full;
  s64 offset;

  if (open_file(OWN_FILE) != 0) IMPOSSIBLE("the device does not open");
  offset = map_buffer(&bytes);
  if (offset < 0) {
    release_file(OWN_FILE);
    IMPOSSIBLE("no mapping: %lld", offset);
  }
  *(u64 *)(hostile.aperture + offset) = MARK;
  if (*(u64 *)(hostile.aperture + offset) != MARK) IMPOSSIBLE("the mapping is not there");
  unmap(offset);
  if (*(u64 *)(hostile.aperture + offset) == MARK) SUCCEEDED("the driver's page is still there");
  release_file(OWN_FILE);
  (void)pages_with("", &full);
  if (full) SUCCEEDED("%llu pages are not empty", full);
  STOPPED("after the unmapping the pages are fresh ones");
}

static void pages_after_release(void) {
  u64 bytes = 0, full;
  s64 offset;

  if (open_file(OWN_FILE) != 0) IMPOSSIBLE("the device does not open");
  offset = map_buffer(&bytes);
  if (offset < 0) {
    release_file(OWN_FILE);
    IMPOSSIBLE("no mapping: %lld", offset);
  }
  *(u64 *)(hostile.aperture + offset) = MARK;
  /* The ring goes, and everything with it. */
  if (!offer_own()) SUCCEEDED("the host takes no ring any more");
  (void)pages_with("", &full);
  if (full) SUCCEEDED("%llu pages are not empty", full);
  STOPPED("when the frontend goes, so do its pages");
}

/* Page by page, as a whole page of what another guest may have there. */
static void writing_everywhere(void) {
  u64 at;

  for (at = POSTERN_VM_CONTROL_BYTES; at < hostile.aperture_bytes; at += PAGE_SIZE) hostile.aperture[at] = 0x5a;
  for (at = POSTERN_VM_CONTROL_BYTES; at < hostile.aperture_bytes; at += PAGE_SIZE) hostile.aperture[at] = 0;
  STOPPED("nobody else's pages were there: what the other guest has is looked at from outside");
}

static void control_page_of_noise(void) {
  static u8 kept[PAGE_SIZE];
  u32 round;

  memcpy(kept, hostile.aperture, PAGE_SIZE);
  for (round = 0; round < 200; round++) {
    get_random_bytes(hostile.aperture, PAGE_SIZE);
    call_host();
  }
  memcpy(hostile.aperture, kept, PAGE_SIZE);
  if (!offer_own() || !is_served()) SUCCEEDED("the host serves nobody any more");
  STOPPED("the host believes nothing that is there");
}

static void device_table_of_noise(void) {
  get_random_bytes(hostile.aperture + POSTERN_VM_TABLE_OFFSET, POSTERN_VM_TABLE_BYTES_MAX);
  if (!is_served()) SUCCEEDED("the host reads its own table from the guest's memory");
  STOPPED("the host has its own");
}

/* A host that says it has gone, or never was. */
static void host_that_is_said_to_be_gone(void) {
  WRITE_ONCE(hostile.control->host_state, POSTERN_VM_HOST_GONE);
  WRITE_ONCE(hostile.control->ring_taken, 0);
  WRITE_ONCE(hostile.control->aperture_bytes, ~0ull);
  if (!is_served()) SUCCEEDED("the host believes it");
  WRITE_ONCE(hostile.control->host_state, POSTERN_VM_HOST_SERVING);
  /* Else this kernel would not notice itself that the host has let go. */
  WRITE_ONCE(hostile.control->ring_taken, 1);
  STOPPED("the host serves on");
}

static void doorbells(void) {
  u32 i;

  for (i = 0; i < 1000; i++) call_host();
  /* Other peers' doorbells, and vectors that are none. */
  for (i = 0; i < 200; i++) writel(get_random_u32(), hostile.registers + 12);
  if (!is_served()) SUCCEEDED("the host serves nobody any more");
  STOPPED("a doorbell only wakes the host");
}

const struct attempt page_attempts[] = {
    {"pages of the aperture", "reading every page of it for another guest's secret", pages_of_others},
    {"pages after their unmapping", "a buffer's pages, once they are unmapped", pages_after_unmapping},
    {"pages after the frontend's end", "a buffer's pages, once the ring has gone", pages_after_release},
    {"writing everywhere", "a byte into every page of the aperture", writing_everywhere},
    {"a control page of noise", "random bytes over what the host reads, 200 times", control_page_of_noise},
    {"a device table of noise", "random bytes over the device table", device_table_of_noise},
    {"a host that is said to be gone", "the host's own words, rewritten", host_that_is_said_to_be_gone},
    {"doorbells", "1000 doorbells, and those of others", doorbells},
};
const size_t page_attempt_count = ARRAY_SIZE(page_attempts);
