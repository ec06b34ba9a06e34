// Names in the guest's own view of the file system: which guarded device node, if any, a path of the guest leads to.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "descriptors.h"

struct statx;

namespace postern {

// A guarded device file of one guest.
struct Node {
  std::string path;  // in the guest
  std::string name;  // in the driver domain, relative to /dev
  uint32_t classIndex = 0;
  uint32_t kind = 0;  // index into the manifest's nodes
  uint32_t major = 0, minor = 0;
  Descriptor handle;  // O_PATH, for the guest's fstat
  dev_t device = 0;
  ino_t inode = 0;
};

// What stat says of a node: its own file, as a character device also where a regular file stands in for it. 0 or an errno.
int statNode(const Node& node, struct stat& st);
int statxNode(const Node& node, unsigned mask, struct statx& st);

class GuestView {
 public:
  explicit GuestView(std::vector<Node> nodes) : nodes_(std::move(nodes)) {}

  // Finds the nodes in the view of `pid`, once its world has been built. The path of a node that is not there, or empty.
  std::string attach(pid_t pid);
  // What a class's new manifest calls its nodes: `kinds` has an entry for every node of the view.
  void setKinds(uint32_t classIndex, const std::vector<uint32_t>& kinds) {
    for (size_t i = 0; i < nodes_.size() && i < kinds.size(); i++)
      if (nodes_[i].classIndex == classIndex) nodes_[i].kind = kinds[i];
  }
  // The node of that number, in the order that they were given in; null when there is none.
  Node* at(uint32_t index) { return index < nodes_.size() ? &nodes_[index] : nullptr; }
  // The guarded node that `tid` means by (directory, path), with openat2's RESOLVE_* flags; null when it means something else, or nothing.
  Node* resolve(pid_t tid, int directory, const std::string& path, bool followLast, uint64_t resolve = 0);

   // What stands in for a path of /proc that the guest's kernel does not have (host/mediator/proc-view.ts), opened for reading or by O_PATH.
  // Invalid where nothing does.
  Descriptor openStandIn(const std::string& path, uint64_t flags) const;

 private:
  Descriptor standIns_;  // O_PATH
  Descriptor lookUp(pid_t tid, int directory, const std::string& path, bool followLast, uint64_t resolve) const;
  std::vector<Node> nodes_;
};

// A NUL-terminated string of the guest's, at most PATH_MAX. 0 or an errno.
int readGuestPath(pid_t tid, uint64_t address, std::string& path);

}  // namespace postern
