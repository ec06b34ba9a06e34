// SPDX-License-Identifier: GPL-2.0-only
/* The PCI device between this guest and its host: ivshmem-doorbell, with Postern's control page in its memory. */
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "frontend.h"

#define REGISTERS_BAR 0
#define APERTURE_BAR 2
#define RING_ORDER get_order(sizeof(struct postern_vm_ring))
/* A host that is there lets go of a ring within milliseconds. */
#define WITHDRAW_MS_MAX 2000u
#define WITHDRAW_STEP_MS 2u

static irqreturn_t take_interrupt(int number, void *data) {
  ring_interrupt(data);
  return IRQ_HANDLED;
}

static bool is_posterns(const struct postern_vm_control *control) {
  return READ_ONCE(control->magic) == POSTERN_VM_MAGIC && READ_ONCE(control->version) == POSTERN_VM_VERSION;
}

static int find_aperture(struct frontend *frontend) {
  struct pci_dev *pci = frontend->pci;
  u64 promised;

  frontend->registers = pcim_iomap(pci, REGISTERS_BAR, 0);
  frontend->aperture = pci_resource_start(pci, APERTURE_BAR);
  frontend->aperture_bytes = pci_resource_len(pci, APERTURE_BAR);
  if (!frontend->registers || frontend->aperture_bytes <= POSTERN_VM_CONTROL_BYTES) return -ENODEV;
  frontend->control = devm_memremap(&pci->dev, frontend->aperture, POSTERN_VM_CONTROL_BYTES, MEMREMAP_WB);
  if (IS_ERR(frontend->control)) return PTR_ERR(frontend->control);
  /* Another ivshmem device is somebody else's. */
  if (!is_posterns(frontend->control)) return -ENODEV;
  promised = READ_ONCE(frontend->control->aperture_bytes);
  frontend->aperture_bytes = min(frontend->aperture_bytes, promised);
  return 0;
}

static int take_interrupts(struct frontend *frontend) {
  int vectors = pci_alloc_irq_vectors(frontend->pci, 1, 1, PCI_IRQ_MSIX);

  if (vectors < 0) return vectors;
  return request_threaded_irq(pci_irq_vector(frontend->pci, 0), NULL, take_interrupt, IRQF_ONESHOT, "postern", frontend);
}

/* Has the host let go of the ring. Whether it has. */
static bool withdraw_ring(struct frontend *frontend) {
  struct postern_vm_control *control = frontend->control;
  u32 waited;

  WRITE_ONCE(control->ring_ready, 0);
  smp_mb(); /* the host says that it uses the ring before it looks whether it may */
  for (waited = 0; READ_ONCE(control->ring_taken); waited += WITHDRAW_STEP_MS) {
    if (waited >= WITHDRAW_MS_MAX) return false;
    ring_call(frontend);
    msleep(WITHDRAW_STEP_MS);
  }
  return true;
}

static int offer_ring(struct frontend *frontend) {
  /* Of an earlier boot, which had no time for it. */
  if (!withdraw_ring(frontend)) return -ETIMEDOUT;
  frontend->ring = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, RING_ORDER);
  if (!frontend->ring) return -ENOMEM;
  frontend->control->ring_address = virt_to_phys(frontend->ring);
  frontend->control->ring_bytes = sizeof *frontend->ring;
  frontend->control->page_levels = pgtable_l5_enabled() ? 5 : 4;
  smp_store_release(&frontend->control->ring_ready, 1);
  ring_call(frontend);
  return 0;
}

static void drop_ring(struct frontend *frontend) {
  if (!frontend->ring) return;
  if (withdraw_ring(frontend)) free_pages((unsigned long)frontend->ring, RING_ORDER);
  else dev_warn(&frontend->pci->dev, "the host does not let go of the ring: its memory stays as it is\n");
}

static int probe(struct pci_dev *pci, const struct pci_device_id *id) {
  struct frontend *frontend = devm_kzalloc(&pci->dev, sizeof *frontend, GFP_KERNEL);
  int error;

  if (!frontend) return -ENOMEM;
  frontend->pci = pci;
  spin_lock_init(&frontend->lock);
  init_waitqueue_head(&frontend->slot_free);
  init_waitqueue_head(&frontend->unmapped);
  pci_set_drvdata(pci, frontend);
  error = pcim_enable_device(pci);
  if (error) return error;
  pci_set_master(pci);
  error = find_aperture(frontend);
  if (error) return error;
  frontend->work = alloc_workqueue("postern", WQ_UNBOUND, 0);
  if (!frontend->work) return -ENOMEM;
  error = offer_ring(frontend);
  if (error) goto no_ring;
  error = take_interrupts(frontend);
  if (error) goto no_interrupt;
  error = nodes_make(frontend);
  if (error) goto no_nodes;
  dev_info(&pci->dev, "%u device files\n", frontend->node_count);
  return 0;

no_nodes:
  nodes_drop(frontend);
  free_irq(pci_irq_vector(pci, 0), frontend);
no_interrupt:
  pci_free_irq_vectors(pci);
  drop_ring(frontend);
no_ring:
  destroy_workqueue(frontend->work);
  return error;
}

/* Files keep the module loaded, so none is open when it is unloaded. */
static void leave(struct pci_dev *pci) {
  struct frontend *frontend = pci_get_drvdata(pci);

  nodes_drop(frontend);
  /* What waits for a slot waits no more: with the ring the host forgets all that it would be told. */
  ring_shut(frontend);
  flush_workqueue(frontend->work);
  free_irq(pci_irq_vector(pci, 0), frontend);
  pci_free_irq_vectors(pci);
  ring_drop_operations(frontend);
  drop_ring(frontend);
  destroy_workqueue(frontend->work);
}

/* The kernel ends, or another begins: nothing is written to this one's memory any more. */
static void shut_down(struct pci_dev *pci) {
  struct frontend *frontend = pci_get_drvdata(pci);

  if (!frontend) return;
  ring_shut(frontend);
  (void)withdraw_ring(frontend);
}

/* QEMU's ivshmem device (docs/specs/ivshmem-spec.rst). */
static const struct pci_device_id devices[] = {{PCI_DEVICE(PCI_VENDOR_ID_REDHAT_QUMRANET, 0x1110)}, {}};
MODULE_DEVICE_TABLE(pci, devices);

static struct pci_driver postern_driver = {
  .name = "postern",
  .id_table = devices,
  .probe = probe,
  .remove = leave,
  .shutdown = shut_down,
  /* An open file outlives an unbinding: the device is taken away only with the module. */
  .driver = {.suppress_bind_attrs = true},
};
module_pci_driver(postern_driver);

MODULE_DESCRIPTION("Device files served by a Postern host");
MODULE_LICENSE("GPL v2");
