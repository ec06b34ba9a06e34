// SPDX-License-Identifier: GPL-2.0-only
/* The device files, and what programs find of them in sysfs: as the host's table has it. */
#include <linux/namei.h>
#include <linux/slab.h>
#include <linux/version.h>

#include "frontend.h"

/* One class of the table; classes that the kernel has already are replaced by one of this module's own name. */
struct node_class {
  struct node_class *next;
  struct class *class;
  char name[32];
};

/* What a `subsystem` link leads to, for devices of a bus: a folder of the bus's name below the ivshmem device's. On the guest's own bus
 * they can't be, where drivers of its own would take hold of them. */
struct node_bus {
  struct node_bus *next;
  struct kobject *folder;
};

struct node_text {
  struct device_attribute attribute;
  char name[56];
  const char *text;
  u32 bytes;
};

/* What the driver core makes for every device. */
static const char *const own_names[] = {"dev", "uevent", "power", "subsystem", "device"};
#define OWN_CLASS "postern"
#define ATTRIBUTES_MAX 64u
/* Devices that hang on each other. */
#define DEPTH_MAX 8u

static char *node_path(struct device *device, umode_t *mode, kuid_t *user, kgid_t *group) {
  const struct node *node = dev_get_drvdata(device);

  /* As open as the host has made it: who may use the device is judged there. */
  if (mode) *mode = 0666;
  return node ? kasprintf(GFP_KERNEL, "%s", node->name) : NULL;
}

/* The lines that the driver domain's driver core has written, where programs look for a device's place on its bus. */
static int add_uevent(
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
    const
#endif
    struct device *device,
    struct kobj_uevent_env *environment) {
  const struct node *node = dev_get_drvdata(device);
  const char *line = node && node->uevent ? node->uevent->text : NULL;

  while (line && *line) {
    const size_t length = strcspn(line, "\n");

    if (length > 0 && add_uevent_var(environment, "%.*s", (int)length, line)) return -ENOMEM;
    line += length + (line[length] == '\n');
  }
  return 0;
}

static const struct device_type node_type = {.devnode = node_path, .uevent = add_uevent};

static void free_device(struct device *device) { kfree(device); }

static bool class_exists(const char *name) {
  char path[64];
  struct path found;

  snprintf(path, sizeof path, "/sys/class/%s", name);
  if (kern_path(path, 0, &found)) return false;
  path_put(&found);
  return true;
}

static struct class *class_named(struct frontend *frontend, const char *name) {
  struct node_class *known;

  for (known = frontend->classes; known; known = known->next)
    if (strcmp(known->name, name) == 0) return known->class;
  if (class_exists(name)) return strcmp(name, OWN_CLASS) == 0 ? ERR_PTR(-EEXIST) : class_named(frontend, OWN_CLASS);
  known = kzalloc(sizeof *known, GFP_KERNEL);
  if (!known) return ERR_PTR(-ENOMEM);
  strscpy(known->name, name, sizeof known->name);
  known->class = class_create(THIS_MODULE, known->name);
  if (IS_ERR(known->class)) {
    struct class *error = known->class;

    kfree(known);
    return error;
  }
  known->next = frontend->classes;
  frontend->classes = known;
  return known->class;
}

static struct kobject *bus_named(struct frontend *frontend, const char *name) {
  struct node_bus *known;

  for (known = frontend->buses; known; known = known->next)
    if (strcmp(kobject_name(known->folder), name) == 0) return known->folder;
  known = kzalloc(sizeof *known, GFP_KERNEL);
  if (!known) return NULL;
  /* In a folder of their own: what hangs on a bus may have its name. */
  if (!frontend->bus_folder) frontend->bus_folder = kobject_create_and_add("bus", &frontend->pci->dev.kobj);
  if (frontend->bus_folder) known->folder = kobject_create_and_add(name, frontend->bus_folder);
  if (!known->folder) {
    kfree(known);
    return NULL;
  }
  known->next = frontend->buses;
  frontend->buses = known;
  return known->folder;
}

/* What a device of a class has already: the link, and a uevent file that says something, which the driver core leaves empty for a device
 * of neither class nor bus. It takes such a file away again by its name, whosever it is. */
static int show_bus(struct frontend *frontend, struct node *node, const char *name) {
  struct kobject *bus = bus_named(frontend, name);
  const int error = bus ? sysfs_create_link(&node->device->kobj, bus, "subsystem") : -ENOMEM;

  node->linked = !error;
  if (error || !node->uevent) return error;
  device_remove_file(node->device, &node->uevent->attribute);
  return device_create_file(node->device, &node->uevent->attribute);
}

static ssize_t show_text(struct device *device, struct device_attribute *attribute, char *buffer) {
  const struct node_text *text = container_of(attribute, struct node_text, attribute);

  memcpy(buffer, text->text, text->bytes);
  return text->bytes;
}

static bool is_plain_name(const char *name) {
  size_t i;

  if (!name[0] || name[0] == '.' || strchr(name, '/')) return false;
  for (i = 0; i < ARRAY_SIZE(own_names); i++)
    if (strcmp(name, own_names[i]) == 0) return false;
  return true;
}

/* Splits "folder/file" in place. The file's name, or NULL where the name will not do. */
static char *split_name(char *name, bool is_of_class) {
  char *slash = strchr(name, '/');

  /* Only a device of a class has a link of that name, and a device of the PCI bus a file. */
  if (!is_of_class && strcmp(name, "device") == 0) return name;
  if (slash) *slash++ = 0;
  if (!is_plain_name(name) || (slash && !is_plain_name(slash))) return NULL;
  return slash ? slash : name;
}

/* The attribute's group: the device's own folder, or the one that its name begins with. */
static struct attribute_group *group_of(struct node *node, const char *folder, u32 attributes) {
  u32 i;

  for (i = 0; node->groups[i]; i++) {
    const char *name = node->groups[i]->name;

    if (folder ? name && strcmp(name, folder) == 0 : !name) return node->groups[i];
  }
  node->groups[i] = kzalloc(sizeof **node->groups, GFP_KERNEL);
  if (!node->groups[i]) return NULL;
  node->groups[i]->name = folder;
  node->groups[i]->attrs = kcalloc(attributes + 1, sizeof *node->groups[i]->attrs, GFP_KERNEL);
  return node->groups[i];
}

static void make_attribute(struct node_text *text, const char *name) {
  sysfs_attr_init(&text->attribute.attr);
  text->attribute.attr.name = name;
  text->attribute.attr.mode = 0444;
  text->attribute.show = show_text;
}

static int add_uevent_text(struct node *node, struct node_text *text, const struct postern_vm_attribute *entry, const u8 *table) {
  text->text = kmemdup_nul((const char *)table + entry->offset, entry->bytes, GFP_KERNEL);
  text->bytes = entry->bytes;
  if (!text->text) return -ENOMEM;
  make_attribute(text, "uevent");
  node->uevent = text;
  return 0;
}

static int add_text(struct node *node, struct node_text *text, const struct postern_vm_attribute *entry, const u8 *table, u32 table_bytes,
                    u32 attributes) {
  struct attribute_group *group;
  char *file;
  u32 i;

  if (entry->offset > table_bytes || entry->bytes > table_bytes - entry->offset || entry->bytes >= PAGE_SIZE) return 0;
  if (strcmp(entry->name, "uevent") == 0) return add_uevent_text(node, text, entry, table);
  strscpy(text->name, entry->name, sizeof text->name);
  file = split_name(text->name, node->is_of_class);
  if (!file) return 0;
  text->text = kmemdup(table + entry->offset, entry->bytes ?: 1, GFP_KERNEL);
  text->bytes = entry->bytes;
  group = text->text ? group_of(node, file == text->name ? NULL : text->name, attributes) : NULL;
  if (!group || !group->attrs) return -ENOMEM;
  for (i = 0; group->attrs[i]; i++)
    if (strcmp(group->attrs[i]->name, file) == 0) return 0;
  make_attribute(text, file);
  group->attrs[i] = &text->attribute.attr;
  return 0;
}

static int read_texts(struct node *node, const struct postern_vm_device *entry, const u8 *table, u32 table_bytes) {
  const u32 attributes = min(entry->attributes, ATTRIBUTES_MAX);
  u32 i;

  if (entry->attribute_offset % 8 || entry->attribute_offset > table_bytes ||
      attributes > (table_bytes - entry->attribute_offset) / sizeof(struct postern_vm_attribute))
    return -EINVAL;
  node->texts = kcalloc(attributes + 1, sizeof *node->texts, GFP_KERNEL);
  node->groups = kcalloc(attributes + 2, sizeof *node->groups, GFP_KERNEL);
  if (!node->texts || !node->groups) return -ENOMEM;
  node->text_count = attributes;
  for (i = 0; i < attributes; i++) {
    struct postern_vm_attribute attribute;
    int error;

    memcpy(&attribute, table + entry->attribute_offset + i * sizeof attribute, sizeof attribute);
    attribute.name[sizeof attribute.name - 1] = 0;
    error = add_text(node, &node->texts[i], &attribute, table, table_bytes, attributes);
    if (error) return error;
  }
  return 0;
}

static int add_file(struct node *node) {
  int error;

  /* A range that a built-in subsystem holds is shared with it: only its own devices are in use there. */
  node->registered = register_chrdev_region(node->number, 1, "postern") == 0;
  cdev_init(&node->cdev, &frontend_files);
  node->cdev.owner = THIS_MODULE;
  error = cdev_add(&node->cdev, node->number, 1);
  node->added = !error;
  return error;
}

static int add_device(struct node *node, struct class *class, struct device *parent) {
  struct device *device = kzalloc(sizeof *device, GFP_KERNEL);
  int error;

  if (!device) return -ENOMEM;
  device_initialize(device);
  device->release = free_device;
  device->devt = node->number;
  device->class = class;
  device->type = &node_type;
  device->parent = parent;
  device->groups = (const struct attribute_group **)node->groups;
  dev_set_drvdata(device, node);
  error = dev_set_name(device, "%s", kbasename(node->name));
  if (!error) error = device_add(device);
  if (error) put_device(device);
  else node->device = device;
  return error;
}

static struct device *parent_of(struct frontend *frontend, u32 parent) {
  if (parent < frontend->node_count && frontend->nodes[parent].device) return frontend->nodes[parent].device;
  return &frontend->pci->dev;
}

static int make_node(struct frontend *frontend, struct node *node, const struct postern_vm_device *entry, const u8 *table, u32 table_bytes) {
  struct class *class = NULL;
  int error;

  node->frontend = frontend;
  strscpy(node->name, entry->name, sizeof node->name);
  if (entry->major >= 1u << (32 - MINORBITS) || entry->minor >= 1u << MINORBITS || !node->name[0]) return -EINVAL;
  node->number = MKDEV(entry->major, entry->minor);
  node->is_of_class = entry->class_name[0] != 0;
  error = read_texts(node, entry, table, table_bytes);
  if (error) return error;
  if (entry->class_name[0]) class = class_named(frontend, entry->class_name);
  if (IS_ERR(class)) return PTR_ERR(class);
  if (entry->major) error = add_file(node);
  if (!error) error = add_device(node, class, parent_of(frontend, entry->parent));
  if (!error && !class && is_plain_name(entry->bus)) error = show_bus(frontend, node, entry->bus);
  return error;
}

static void drop_node(struct node *node) {
  u32 i;

  if (node->linked) sysfs_remove_link(&node->device->kobj, "subsystem");
  if (node->device) device_unregister(node->device);
  if (node->added) cdev_del(&node->cdev);
  if (node->registered) unregister_chrdev_region(node->number, 1);
  for (i = 0; node->groups && node->groups[i]; i++) {
    kfree(node->groups[i]->attrs);
    kfree(node->groups[i]);
  }
  kfree(node->groups);
  for (i = 0; i < node->text_count; i++) kfree(node->texts[i].text);
  kfree(node->texts);
}

void nodes_drop(struct frontend *frontend) {
  u32 i;

  /* Those with files hang on those without, which the table has behind them. */
  for (i = 0; i < frontend->node_count; i++) drop_node(&frontend->nodes[i]);
  kvfree(frontend->nodes);
  frontend->nodes = NULL;
  while (frontend->buses) {
    struct node_bus *first = frontend->buses;

    frontend->buses = first->next;
    kobject_put(first->folder);
    kfree(first);
  }
  kobject_put(frontend->bus_folder);
  frontend->bus_folder = NULL;
  while (frontend->classes) {
    struct node_class *first = frontend->classes;

    frontend->classes = first->next;
    class_destroy(first->class);
    kfree(first);
  }
}

/* Whatever it hangs on comes first; a table that goes round in circles ends where it began. A device that can't be made is told and left
 * out: the others serve. */
static void make_in_order(struct frontend *frontend, u32 index, const u8 *table, u32 table_bytes) {
  struct node *node = &frontend->nodes[index];
  struct postern_vm_device entry;
  u32 parents[DEPTH_MAX], depth = 0;

  for (;;) {
    if (index >= frontend->node_count || frontend->nodes[index].begun || depth == DEPTH_MAX) break;
    frontend->nodes[index].begun = true;
    parents[depth++] = index;
    memcpy(&entry, table + index * sizeof entry, sizeof entry);
    index = entry.parent;
  }
  while (depth > 0) {
    int error;

    index = parents[--depth];
    node = &frontend->nodes[index];
    memcpy(&entry, table + index * sizeof entry, sizeof entry);
    entry.name[sizeof entry.name - 1] = 0;
    entry.class_name[sizeof entry.class_name - 1] = 0;
    entry.bus[sizeof entry.bus - 1] = 0;
    node->index = index;
    error = make_node(frontend, node, &entry, table, table_bytes);
    if (error) dev_warn(&frontend->pci->dev, "the device %s can't be made: error %d\n", entry.name, -error);
  }
}

static void make_nodes(struct frontend *frontend, const u8 *table, u32 table_bytes) {
  u32 i;

  for (i = 0; i < frontend->node_count; i++) make_in_order(frontend, i, table, table_bytes);
}

int nodes_make(struct frontend *frontend) {
  const u32 table_bytes = READ_ONCE(frontend->control->table_bytes), devices = READ_ONCE(frontend->control->devices);
  u8 *table;

  if (table_bytes > POSTERN_VM_TABLE_BYTES_MAX || devices > POSTERN_VM_DEVICES_MAX || devices * sizeof(struct postern_vm_device) > table_bytes)
    return -EINVAL;
  table = kvmalloc(table_bytes + 1, GFP_KERNEL);
  frontend->nodes = kvcalloc(devices + 1, sizeof *frontend->nodes, GFP_KERNEL);
  if (!table || !frontend->nodes) {
    kvfree(table);
    return -ENOMEM;
  }
  /* A copy: what is checked is what is used. */
  memcpy(table, (u8 *)frontend->control + POSTERN_VM_TABLE_OFFSET, table_bytes);
  frontend->node_count = devices;
  make_nodes(frontend, table, table_bytes);
  kvfree(table);
  return 0;
}
