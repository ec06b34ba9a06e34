/* SPDX-License-Identifier: GPL-2.0-only */
/* A guest VM's kernel that is hostile: in the frontend's place it speaks to the host itself, and lies. It is a list of attempts, each of
 * which says what it tried and what came of it, in the words of ../attempt.h:
 *
 *   attempt NAME
 *   tried WHAT
 *   stopped WHY | succeeded HOW | impossible WHY
 *
 * All run while the module is loaded; /proc/postern_hostile is their report.
 */
#ifndef POSTERN_TEST_HOSTILE_H
#define POSTERN_TEST_HOSTILE_H

#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/types.h>

#include "vm_frontend.h"

/* Commands of V4L2 (linux/videodev2.h): what the attempts abuse. */
#define QUERYCAP 0x80685600u
#define QUERYCAP_BYTES 104u
#define G_CTRL 0xc008561bu
#define S_CTRL 0xc008561cu
#define REQBUFS 0xc0145608u
#define QUERYBUF 0xc0585609u
#define BRIGHTNESS 0x00980900u

/* How long an answer is waited for: an honest one comes within a millisecond; a busy machine takes hundreds. */
#define ANSWER_MS_MAX 5000u
/* In which the attempts work, of the process that loads the module. */
#define USER_BYTES (64 * PAGE_SIZE)

struct hostile {
  struct pci_dev *pci;
  void __iomem *registers;
  phys_addr_t registers_at, aperture_at;
  u8 *aperture; /* all of it */
  u64 aperture_bytes, ram_end;
  struct postern_vm_control *control;
  struct postern_vm_ring *ring;
  unsigned long user; /* USER_BYTES of the process's own memory */
  u64 page_table;
  u64 sequence;
  char *report;
  size_t reported, room;
};
extern struct hostile hostile;
/* What another guest has in its camera's buffers. */
extern char *secret;

struct attempt {
  const char *name, *tried;
  void (*run)(void);
};

/* main.c */
void say(const char *word, const char *format, ...) __printf(2, 3);
#define STOPPED(...) do { say("stopped", __VA_ARGS__); return; } while (0)
#define SUCCEEDED(...) do { say("succeeded", __VA_ARGS__); return; } while (0)
#define IMPOSSIBLE(...) do { say("impossible", __VA_ARGS__); return; } while (0)

/* ring.c */
/* Offers the ring that is at `address`; whether the host has taken it within so many milliseconds. The one that is in use is withdrawn before. */
bool offer(u64 address, u32 bytes, u32 levels, u32 ms);
bool offer_own(void);
struct postern_vm_request request_of(u32 kind, u32 file);
void post(u32 slot, const struct postern_vm_request *request);
/* Waits until the host has done something with the slot; `meanwhile` is called all the time. The slot's state: POSTED when it did not. */
u32 wait_slot(u32 slot, void (*meanwhile)(u32 round), u32 ms_max);
void call_host(void);
/* What came of a request: a value, or a negative errno. The pages that the host asks for are those of `user`, which are there. */
struct outcome {
  u32 state;
  s64 value;
  u32 rounds;
};
struct outcome perform(struct postern_vm_request request, void (*meanwhile)(u32 round));
s64 open_file(u32 file);
s64 command_on(u32 file, u32 command, u64 argument);
void release_file(u32 file);
/* Whether the host still serves what is honest. */
bool is_served(void);
const char *words(struct outcome outcome);

extern const struct attempt table_attempts[], request_attempts[], page_attempts[];
extern const size_t table_attempt_count, request_attempt_count, page_attempt_count;

#endif
