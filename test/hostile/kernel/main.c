// SPDX-License-Identifier: GPL-2.0-only
/* Takes the device, makes every attempt, and keeps the report. */
#include <linux/io.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/vmalloc.h>

#include "hostile.h"

#define REPORT_BYTES (64u << 10)
#define APERTURE_BAR 2
#define REGISTERS_BAR 0

struct hostile hostile;

char *secret = "";
module_param(secret, charp, 0);
MODULE_PARM_DESC(secret, "what another guest has in its buffers");

static unsigned int ram_mib = 512;
module_param(ram_mib, uint, 0);
MODULE_PARM_DESC(ram_mib, "the machine's memory, in one piece");

static bool loud;
module_param(loud, bool, 0);
MODULE_PARM_DESC(loud, "tell on the console too");

void say(const char *word, const char *format, ...) {
  va_list list;
  char text[300];

  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  if (loud) pr_err("%s %s\n", word, text);
  hostile.reported += scnprintf(hostile.report + hostile.reported, hostile.room - hostile.reported, "%s %s\n", word, text);
}

static void run_all(const struct attempt *attempts, size_t count) {
  size_t i;

  for (i = 0; i < count; i++) {
    say("attempt", "%s", attempts[i].name);
    say("tried", "%s", attempts[i].tried);
    /* Each begins with a ring that the host has taken. */
    if (!offer_own()) {
      say("died", "the host takes no ring any more");
      return;
    }
    attempts[i].run();
  }
}

static int show(struct seq_file *file, void *data) {
  seq_write(file, hostile.report, hostile.reported);
  return 0;
}

static int take_device(void) {
  struct pci_dev *pci = pci_get_device(PCI_VENDOR_ID_REDHAT_QUMRANET, 0x1110, NULL);
  int error;

  if (!pci) return -ENODEV;
  hostile.pci = pci;
  error = pci_enable_device(pci);
  if (error) return error;
  pci_set_master(pci);
  hostile.registers_at = pci_resource_start(pci, REGISTERS_BAR);
  hostile.registers = pci_iomap(pci, REGISTERS_BAR, 0);
  hostile.aperture_at = pci_resource_start(pci, APERTURE_BAR);
  hostile.aperture_bytes = pci_resource_len(pci, APERTURE_BAR);
  hostile.aperture = memremap(hostile.aperture_at, hostile.aperture_bytes, MEMREMAP_WB);
  hostile.control = (void *)hostile.aperture;
  return hostile.registers && hostile.aperture ? 0 : -ENODEV;
}

static int begin(void) {
  const int error = take_device();

  if (error) return error;
  hostile.room = REPORT_BYTES;
  hostile.report = vzalloc(REPORT_BYTES);
  hostile.ring = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, get_order(sizeof *hostile.ring));
  if (!hostile.report || !hostile.ring) return -ENOMEM;
  hostile.user = vm_mmap(NULL, 0, USER_BYTES, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE | MAP_POPULATE, 0);
  if (IS_ERR_VALUE(hostile.user)) return -ENOMEM;
  hostile.page_table = virt_to_phys(current->mm->pgd);
  hostile.ram_end = (u64)ram_mib << 20;
  run_all(table_attempts, table_attempt_count);
  run_all(request_attempts, request_attempt_count);
  run_all(page_attempts, page_attempt_count);
  say("attempt", "%s", "afterwards");
  say("tried", "%s", "all of the above, and then what an honest frontend does");
  if (offer_own() && is_served()) say("stopped", "the host serves this guest as before");
  else say("died", "the host does not serve this guest any more");
  /* Its memory is the host's until the ring is withdrawn, and this module's no longer. */
  (void)offer(0, 0, 0, 0);
  return proc_create_single("postern_hostile", 0444, NULL, show) ? 0 : -ENOMEM;
}

/* Loaded once in a guest that has nothing else to do: what it has taken stays taken. */
module_init(begin);
MODULE_DESCRIPTION("A hostile kernel in the place of Postern's frontend, for its tests");
MODULE_LICENSE("GPL v2");
