// SPDX-License-Identifier: GPL-2.0-only
/* Page tables that lie: the host walks them to find an argument. */
#include <linux/io.h>
#include <linux/uaccess.h>

#include "hostile.h"

#define PRESENT 1ull
#define WRITABLE 2ull
#define USER 4ull
#define LARGE (1ull << 7)
#define ALL (PRESENT | WRITABLE | USER)
#define ENTRIES 512u
/* Where the forged tables put their page: a program's address. */
#define FORGED_AT 0x200000000000ull
#define FILE_NUMBER 5u

/* One table a level, the leaf's first. */
static u64 *tables[5];

static bool make_tables(void) {
  u32 i;

  for (i = 0; i < ARRAY_SIZE(tables); i++) {
    if (!tables[i]) tables[i] = (u64 *)get_zeroed_page(GFP_KERNEL);
    if (!tables[i]) return false;
    memset(tables[i], 0, PAGE_SIZE);
  }
  return true;
}

static u32 levels(void) { return pgtable_l5_enabled() ? 5 : 4; }

static u32 index_at(u32 level) { return FORGED_AT >> (12 + 9 * (level - 1)) & (ENTRIES - 1); }

/* Tables that lead from FORGED_AT to `entry`, which stands at `level`; the top one's address. */
static u64 forge(u64 entry, u32 level) {
  u32 at;

  if (!make_tables()) return 0;
  tables[level - 1][index_at(level)] = entry;
  for (at = level + 1; at <= levels(); at++) tables[at - 1][index_at(at)] = virt_to_phys(tables[at - 2]) | ALL;
  return virt_to_phys(tables[levels() - 1]);
}

/* By a command that is written there; with `reads`, by one that is read there first. */
static struct outcome ask_with(u64 page_table, u64 address, bool reads, void (*meanwhile)(u32 round)) {
  struct postern_vm_request request;
  struct outcome outcome;
  const s64 opened = open_file(FILE_NUMBER);

  if (opened != 0) {
    say("impossible", "the device does not open: %lld", opened);
    return (struct outcome){.state = POSTERN_VM_SLOT_FREE};
  }
  request = request_of(POSTERN_VM_IOCTL, FILE_NUMBER);
  request.command = reads ? G_CTRL : QUERYCAP;
  request.argument = address;
  request.page_table = page_table;
  outcome = perform(request, meanwhile);
  release_file(FILE_NUMBER);
  return outcome;
}

static struct outcome ask_at(u64 page_table, u64 address, void (*meanwhile)(u32 round)) {
  const struct outcome read = ask_with(page_table, address, true, meanwhile);

  if (read.state == POSTERN_VM_SLOT_POSTED || (read.state == POSTERN_VM_SLOT_ANSWERED && read.value >= 0)) return read;
  return ask_with(page_table, address, false, meanwhile);
}

/* An answer of success would mean that the host has written there. */
static void judge(struct outcome outcome) {
  if (outcome.state == POSTERN_VM_SLOT_ANSWERED && outcome.value >= 0) SUCCEEDED("the host has written the answer there");
  if (outcome.state == POSTERN_VM_SLOT_POSTED) SUCCEEDED("the host does not answer any more");
  STOPPED("%s", words(outcome));
}

static void table_at(u64 page_table) { judge(ask_at(page_table, FORGED_AT, NULL)); }
static void page_at(u64 physical) { judge(ask_at(forge(physical | ALL, 1), FORGED_AT, NULL)); }

static void table_beyond_ram(void) { table_at(hostile.ram_end + PAGE_SIZE); }
static void table_at_the_top(void) { table_at(~0ull & PAGE_MASK); }
static void table_at_every_bit(void) { table_at(~0ull); }
static void table_in_registers(void) { table_at(hostile.registers_at); }

/* Its entries could be right: the guest writes the aperture as it likes. */
static void table_in_aperture(void) {
  u64 *entries = (u64 *)(hostile.aperture + POSTERN_VM_CONTROL_BYTES / 2);
  u32 i;

  if (!make_tables()) IMPOSSIBLE("no memory");
  for (i = 0; i < ENTRIES; i++) entries[i] = virt_to_phys(tables[0]) | ALL;
  table_at(hostile.aperture_at + POSTERN_VM_CONTROL_BYTES / 2);
}

static void lower_table_in_aperture(void) { judge(ask_at(forge((hostile.aperture_at + PAGE_SIZE) | ALL, 2), FORGED_AT, NULL)); }
static void lower_table_beyond_ram(void) { judge(ask_at(forge((hostile.ram_end + (64ull << 20)) | ALL, 3), FORGED_AT, NULL)); }

/* The walk has as many steps as there are levels, wherever they lead: the page is then the table itself, which is this guest's. */
static void table_of_itself(void) {
  struct outcome outcome;
  u32 i;

  if (!make_tables()) IMPOSSIBLE("no memory");
  for (i = 0; i < ENTRIES; i++) tables[0][i] = virt_to_phys(tables[0]) | ALL;
  outcome = ask_at(virt_to_phys(tables[0]), FORGED_AT, NULL);
  if (outcome.state == POSTERN_VM_SLOT_POSTED) SUCCEEDED("the host does not answer any more");
  STOPPED("a walk of %u steps, which ends in this guest's own table: %s", levels(), words(outcome));
}

static void page_beyond_ram(void) { page_at(hostile.ram_end); }
static void page_of_aperture(void) { page_at(hostile.aperture_at + POSTERN_VM_CONTROL_BYTES); }
static void page_of_registers(void) { page_at(hostile.registers_at); }
static void page_of_apic(void) { page_at(0xfee00000ull); }
static void page_at_four_gib(void) { page_at(1ull << 32); }
static void page_at_the_top(void) { page_at(0x000ffffffffff000ull); }
static void page_at_the_host(void) { page_at(0x00007ffff7000000ull); }

static void page_of_control(void) {
  const u32 magic = READ_ONCE(hostile.control->magic);
  const struct outcome outcome = ask_at(forge(hostile.aperture_at | ALL, 1), FORGED_AT, NULL);

  if (READ_ONCE(hostile.control->magic) != magic) SUCCEEDED("the host has written over its own control page");
  judge(outcome);
}

static void large_page_beyond_ram(void) { judge(ask_at(forge(hostile.ram_end | ALL | LARGE, 2), FORGED_AT + PAGE_SIZE, NULL)); }
static void gigantic_page_over_the_end(void) { judge(ask_at(forge(0 | ALL | LARGE, 3), FORGED_AT + hostile.ram_end, NULL)); }

/* A leaf where none may be: bits of the entry that would be a page's address, if it were one. */
static void page_at_the_highest_level(void) { judge(ask_at(forge(0 | ALL | LARGE, levels()), FORGED_AT, NULL)); }

static void over_the_last_page(void) {
  const u64 page_table = forge((hostile.ram_end - PAGE_SIZE) | ALL, 1);

  tables[0][index_at(1) + 1] = hostile.ram_end | ALL;
  judge(ask_at(page_table, FORGED_AT + PAGE_SIZE - QUERYCAP_BYTES / 2, NULL));
}

static void page_without_a_right(u64 rights) {
  void *page = (void *)get_zeroed_page(GFP_KERNEL);
  const struct outcome outcome = page ? ask_at(forge(virt_to_phys(page) | rights, 1), FORGED_AT, NULL) : (struct outcome){0};
  const bool is_changed = page && memchr_inv(page, 0, PAGE_SIZE);

  free_page((unsigned long)page);
  if (is_changed) SUCCEEDED("the host has written into the page");
  judge(outcome);
}

static void page_of_the_kernel(void) { page_without_a_right(PRESENT | WRITABLE); }
static void page_for_reading(void) { page_without_a_right(PRESENT | USER); }
static void page_not_there(void) { page_without_a_right(WRITABLE | USER); }

static void address_of_the_kernel(void) { judge(ask_at(hostile.page_table, (u64)hostile.control, NULL)); }
static void address_without_form(void) { judge(ask_at(hostile.page_table, 0x0000900000000000ull << 4, NULL)); }
static void address_that_wraps(void) { judge(ask_at(hostile.page_table, ~0ull - 8, NULL)); }

/* Between the host's looks the entry leads somewhere else. */
static void flip(u32 round) {
  static const u64 no_ram[] = {0xfee00000ull, 1ull << 40, 0x000ffffffffff000ull};
  const u64 places[] = {virt_to_phys((void *)tables[4]) | ALL, hostile.aperture_at | ALL, no_ram[round % 3] | ALL, 0};

  WRITE_ONCE(tables[0][index_at(1)], places[round % 4]);
}

static void flip_table(u32 round) {
  WRITE_ONCE(tables[1][index_at(2)], round % 2 ? virt_to_phys(tables[0]) | ALL : hostile.aperture_at | ALL);
}

static void race(void (*changes)(u32 round)) {
  u32 tries, answered = 0;

  for (tries = 0; tries < 60; tries++) {
    const struct outcome outcome = ask_at(forge(virt_to_phys((void *)tables[4]) | ALL, 1), FORGED_AT, changes);

    if (outcome.state == POSTERN_VM_SLOT_POSTED) SUCCEEDED("the host does not answer any more");
    answered += outcome.state == POSTERN_VM_SLOT_ANSWERED;
  }
  STOPPED("%u of %u answered, each from this guest's own page or not at all", answered, tries);
}

static void entry_that_changes(void) {
  if (!make_tables()) IMPOSSIBLE("no memory");
  race(flip);
}
static void table_that_changes(void) {
  if (!make_tables()) IMPOSSIBLE("no memory");
  race(flip_table);
}

const struct attempt table_attempts[] = {
    {"a table beyond RAM", "CR3 behind the last page of RAM", table_beyond_ram},
    {"a table at the top", "CR3 with every address bit set", table_at_the_top},
    {"a table of every bit", "CR3 of all ones", table_at_every_bit},
    {"a table in the registers", "CR3 in the device's registers", table_in_registers},
    {"a table in the aperture", "CR3 in the aperture, which the guest fills", table_in_aperture},
    {"a lower table in the aperture", "the second level in the device table's pages", lower_table_in_aperture},
    {"a lower table beyond RAM", "the third level behind RAM", lower_table_beyond_ram},
    {"a table of itself", "every entry leads to the table itself", table_of_itself},
    {"a page beyond RAM", "the answer goes behind the last page of RAM", page_beyond_ram},
    {"a page of the aperture", "the answer goes to a page of the aperture", page_of_aperture},
    {"a page of the registers", "the answer goes to the doorbell's page", page_of_registers},
    {"a page of the APIC", "the answer goes to 0xfee00000", page_of_apic},
    {"a page at 4 GiB", "the answer goes where RAM would go on", page_at_four_gib},
    {"a page at the top", "the answer goes to the highest page", page_at_the_top},
    {"a page at the host's address", "the answer goes where the host's own memory may be", page_at_the_host},
    {"the control page", "the answer goes over what the host has written for the guest", page_of_control},
    {"a large page beyond RAM", "2 MiB behind the last page of RAM", large_page_beyond_ram},
    {"a gigantic page over the end", "1 GiB that is more than all RAM", gigantic_page_over_the_end},
    {"a page at the highest level", "a leaf where none may be", page_at_the_highest_level},
    {"over the last page", "an answer half in RAM", over_the_last_page},
    {"a page of the kernel", "a page without the user's right", page_of_the_kernel},
    {"a page for reading", "an answer into a read-only page", page_for_reading},
    {"a page that is not there", "an entry without the present bit", page_not_there},
    {"an address of the kernel", "an argument in the kernel's half", address_of_the_kernel},
    {"an address without form", "an argument between the halves", address_without_form},
    {"an address that wraps", "an argument over the end of the address space", address_that_wraps},
    {"an entry that changes", "during the walk the leaf leads to RAM, the aperture, nowhere", entry_that_changes},
    {"a table that changes", "during the walk the last table is RAM, or the aperture", table_that_changes},
};
const size_t table_attempt_count = ARRAY_SIZE(table_attempts);
