#include <linux/module.h>
#define INCLUDE_VERMAGIC
#include <linux/build-salt.h>
#include <linux/elfnote-lto.h>
#include <linux/export-internal.h>
#include <linux/vermagic.h>
#include <linux/compiler.h>

BUILD_SALT;
BUILD_LTO_INFO;

MODULE_INFO(vermagic, VERMAGIC_STRING);
MODULE_INFO(name, KBUILD_MODNAME);

__visible struct module __this_module
__section(".gnu.linkonce.this_module") = {
	.name = KBUILD_MODNAME,
	.init = init_module,
#ifdef CONFIG_MODULE_UNLOAD
	.exit = cleanup_module,
#endif
	.arch = MODULE_ARCH_INIT,
};

#ifdef CONFIG_RETPOLINE
MODULE_INFO(retpoline, "Y");
#endif


static const struct modversion_info ____versions[]
__used __section("__versions") = {
	{ 0x9eca777b, "pin_user_pages_fast" },
	{ 0xc1514a3b, "free_irq" },
	{ 0x49cd25ed, "alloc_workqueue" },
	{ 0xb3533ef0, "unpin_user_pages_dirty_lock" },
	{ 0xa7dbde55, "__class_create" },
	{ 0x91c24755, "devm_kmalloc" },
	{ 0x28c642a6, "devm_memremap" },
	{ 0x656e4a6e, "snprintf" },
	{ 0xc5b6f236, "queue_work_on" },
	{ 0xd869872e, "device_unregister" },
	{ 0x92540fbf, "finish_wait" },
	{ 0x921ab725, "kill_fasync" },
	{ 0xfd11e3f7, "class_destroy" },
	{ 0x515d769, "__pci_register_driver" },
	{ 0x69acdf38, "memcpy" },
	{ 0x292bd6e0, "remap_pfn_range" },
	{ 0x37a0cba, "kfree" },
	{ 0x8c26d495, "prepare_to_wait_event" },
	{ 0xe2964344, "__wake_up" },
	{ 0x4302d0eb, "free_pages" },
	{ 0x4c3229d1, "pci_irq_vector" },
	{ 0x34db050b, "_raw_spin_lock_irqsave" },
	{ 0x418f3a08, "path_put" },
	{ 0xd4415680, "pci_unregister_driver" },
	{ 0xcbd4898c, "fortify_panic" },
	{ 0xbdfb6dbb, "__fentry__" },
	{ 0x65487097, "__x86_indirect_thunk_rax" },
	{ 0x92997ed8, "_printk" },
	{ 0x8ddd8aad, "schedule_timeout" },
	{ 0x1000e51, "schedule" },
	{ 0xa19b956, "__stack_chk_fail" },
	{ 0x296695f, "refcount_warn_saturate" },
	{ 0x6a5cb5ee, "__get_free_pages" },
	{ 0xa916b694, "strnlen" },
	{ 0x9f984513, "strrchr" },
	{ 0xbb462483, "_dev_info" },
	{ 0x7cd8d75e, "page_offset_base" },
	{ 0x599fb41c, "kvmalloc_node" },
	{ 0x478823a1, "cdev_add" },
	{ 0xfe487975, "init_wait_entry" },
	{ 0x92d5838e, "request_threaded_irq" },
	{ 0x8c03d20c, "destroy_workqueue" },
	{ 0x6fb89e93, "fasync_helper" },
	{ 0x4c9d28b0, "phys_base" },
	{ 0x68fb37ae, "current_task" },
	{ 0xd35cce70, "_raw_spin_unlock_irqrestore" },
	{ 0x156696d3, "_dev_warn" },
	{ 0x4a093b8, "kern_path" },
	{ 0x5621f059, "pci_alloc_irq_vectors_affinity" },
	{ 0xa7ccedce, "pci_set_master" },
	{ 0x9166fc03, "__flush_workqueue" },
	{ 0x5b8239ca, "__x86_return_thunk" },
	{ 0xd9a5ea54, "__init_waitqueue_head" },
	{ 0xfb384d37, "kasprintf" },
	{ 0xe2d5255a, "strcmp" },
	{ 0x241276ff, "nonseekable_open" },
	{ 0xff4d0eba, "device_create_with_groups" },
	{ 0xdd64e639, "strscpy" },
	{ 0x6091b333, "unregister_chrdev_region" },
	{ 0x66b4cc41, "kmemdup" },
	{ 0x13a1aa9, "pcim_iomap" },
	{ 0x78d27962, "boot_cpu_data" },
	{ 0x606e9d01, "kmalloc_trace" },
	{ 0x3fd78f3b, "register_chrdev_region" },
	{ 0x7aa1756e, "kvfree" },
	{ 0x39268dec, "pcim_enable_device" },
	{ 0x349cba85, "strchr" },
	{ 0xa58865b6, "pci_free_irq_vectors" },
	{ 0xc9f4b187, "cdev_init" },
	{ 0xeb233a45, "__kmalloc" },
	{ 0xe2c17b5d, "__SCT__might_resched" },
	{ 0x7a7caba8, "kmalloc_caches" },
	{ 0x7fef1dbe, "cdev_del" },
	{ 0x9060323f, "module_layout" },
};

MODULE_INFO(depends, "");

MODULE_ALIAS("pci:v00001AF4d00001110sv*sd*bc*sc*i*");
