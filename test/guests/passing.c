/* Buffers and fences as descriptors: exported, mapped, measured, imported by another driver, queued, inherited and sent. */
#include "passing.h"

#include <libdrm/drm_mode.h>

#include <sys/socket.h>

static void say_size(const char *label, int fd) {
  struct stat status;
  MUST(fstat(fd, &status));
  say("%s: size %lld, end %lld, type %o", label, (long long)status.st_size, (long long)lseek(fd, 0, SEEK_END), status.st_mode & S_IFMT);
}

/* The camera's own mapping and the descriptor's are the same pages. */
static void exported_buffers(void) {
  struct video video = open_mapped(2);
  for (unsigned i = 0; i < 2; i++) {
    int fd = (int)SAY_OK("exported", export_buffer(video.fd, i, O_RDWR | O_CLOEXEC));
    say("closed on exec: %d, mode %d", (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0, fcntl(fd, F_GETFL) & O_ACCMODE);
    say_size("buffer", fd);
    uint8_t *pixels = map_fd(fd, video.buffer[i].length, PROT_READ | PROT_WRITE);
    say("mapped: %d", pixels != NULL);
    if (!pixels) return;
    memset(video.buffer[i].bytes, 0x5a + (int)i, video.buffer[i].length);
    say("same bytes: %d", memcmp(pixels, video.buffer[i].bytes, video.buffer[i].length) == 0);
    pixels[video.buffer[i].length - 1] = 7;
    say("written through: %d", ((uint8_t *)video.buffer[i].bytes)[video.buffer[i].length - 1]);
    struct dma_buf_sync sync = {.flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW};
    SAY("sync start", ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync));
    sync.flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW;
    SAY("sync end", ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync));
    sync.flags = ~0ull;
    SAY("sync nonsense", ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync));
    SAY("name", ioctl(fd, DMA_BUF_SET_NAME, "frame"));
    SAY("another command", ioctl(fd, VIDIOC_QUERYCAP, &sync));
    SAY("read", read(fd, pixels, 16));
    SAY("write", write(fd, pixels, 16));
    SAY("seek", lseek(fd, 5, SEEK_SET));
    SAY("seek to the start", lseek(fd, 0, SEEK_SET));
    say("ready: %s", readiness(fd, POLLIN | POLLOUT));
    SAY("close", close(fd));
    say("still mapped: %d", pixels[0]);
    SAY("unmap", munmap(pixels, video.buffer[i].length));
    SAY("closed", ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync));
  }
  int fd = (int)SAY_OK("read-only", export_buffer(video.fd, 0, O_RDONLY));
  say("closed on exec: %d, mode %d", (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0, fcntl(fd, F_GETFL) & O_ACCMODE);
  say("written: %d", map_fd(fd, video.buffer[0].length, PROT_READ | PROT_WRITE) != NULL);
  say("looked at: %d", map_fd(fd, video.buffer[0].length, PROT_READ) != NULL);
  SAY("no such buffer", export_buffer(video.fd, 9, O_RDWR));
  SAY("bad flags", export_buffer(video.fd, 0, O_APPEND));
  SAY("of another's queue", export_buffer(open_video(0), 0, O_RDWR));
}

/* A frame that vivid captures into a buffer of vgem is the one that it captures into its own: without text, its picture stands still. */
static void frame_into(int camera, const struct dumb *dumb, int fd, uint8_t *copy) {
  struct v4l2_requestbuffers request = {.count = 1, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = dumb ? V4L2_MEMORY_DMABUF : V4L2_MEMORY_MMAP};
  MUST(ioctl(camera, VIDIOC_REQBUFS, &request));
  struct v4l2_buffer buffer = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = request.memory};
  MUST(ioctl(camera, VIDIOC_QUERYBUF, &buffer));
  uint8_t *own = dumb ? NULL : (void *)MUST(mmap(NULL, buffer.length, PROT_READ, MAP_SHARED, camera, buffer.m.offset));
  if (dumb) buffer.m.fd = fd;
  MUST(ioctl(camera, VIDIOC_QBUF, &buffer));
  if (dumb) say("queued as given: %d", buffer.m.fd == fd);
  MUST(stream(camera, true));
  MUST(ioctl(camera, VIDIOC_DQBUF, &buffer));
  if (dumb) say("told as given: %d, bytes %u", buffer.m.fd == fd, buffer.bytesused);
  if (dumb) MUST(ioctl(camera, VIDIOC_QUERYBUF, &buffer));
  if (dumb) say("asked as given: %d", buffer.m.fd == fd);
  memcpy(copy, dumb ? dumb->pixels : own, FRAME_BYTES);
  MUST(stream(camera, false));
  if (own) MUST(munmap(own, buffer.length));
  request.count = 0;
  MUST(ioctl(camera, VIDIOC_REQBUFS, &request));
}

static int open_still_camera(void) {
  int camera = open_video(0);
  MUST(set_format(camera, WIDTH, HEIGHT, V4L2_PIX_FMT_XBGR32));
  /* VIVID_CID_OSD_TEXT_MODE (vivid-ctrls.c): no counters in the picture. */
  MUST(set_control(camera, 0x00f0f001, 2));
  return camera;
}

static void capture_into(const char *driver) {
  int camera = open_still_camera(), card = open_card(driver);
  struct dumb dumb = make_dumb(card);
  int fd = (int)SAY_OK("exported", export_handle(card, dumb.handle, DRM_CLOEXEC | DRM_RDWR));
  say_size("dumb", fd);
  static uint8_t own[FRAME_BYTES], theirs[FRAME_BYTES];
  frame_into(camera, NULL, -1, own);
  frame_into(camera, &dumb, fd, theirs);
  unsigned lit = 0;
  for (size_t i = 0; i < FRAME_BYTES; i++) lit += theirs[i] != 0;
  say("same picture: %d, not black: %d", memcmp(own, theirs, FRAME_BYTES) == 0, lit > FRAME_BYTES / 4);
}

static void capture_into_vgem(void) { capture_into("vgem"); }
static void capture_into_virtio_gpu(void) { capture_into("virtio_gpu"); }

/* A camera's buffer becomes a handle of vgem, which is told of as the same buffer. */
static void camera_to_vgem(void) {
  struct video video = open_mapped(1);
  int card = open_card("vgem");
  int fd = (int)MUST(export_buffer(video.fd, 0, O_RDWR | O_CLOEXEC));
  long handle = SAY_OK("imported", import_fd(card, fd));
  say("imported again alike: %d", import_fd(card, fd) == handle);
  int again = (int)SAY_OK("exported", export_handle(card, (uint32_t)handle, DRM_CLOEXEC | DRM_RDWR));
  say("same file: %d, same number: %d", is_same_file(fd, again), fd == again);
  uint8_t *pixels = map_fd(again, video.buffer[0].length, PROT_READ | PROT_WRITE);
  say("mapped: %d", pixels != NULL);
  memset(video.buffer[0].bytes, 0x33, video.buffer[0].length);
  say("same pages: %d", pixels && memcmp(pixels, video.buffer[0].bytes, video.buffer[0].length) == 0);
  SAY("close", close(fd));
  SAY("no longer", import_fd(card, fd));
  say("the other one: %d", import_fd(card, again) == handle);
  struct drm_gem_close gone = {.handle = (uint32_t)handle};
  SAY("handle closed", ioctl(card, DRM_IOCTL_GEM_CLOSE, &gone));
  SAY_OK("imported anew", import_fd(card, again));
}

static int queue_fd(int camera, int fd) {
  struct v4l2_buffer buffer = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_DMABUF, .m.fd = fd};
  int result = ioctl(camera, VIDIOC_QBUF, &buffer);
  if (buffer.m.fd != fd) say("the number has changed");
  return result;
}

/* What is no buffer is refused as the kernel refuses it. */
static void strange_numbers(void) {
  int card = open_card("vgem"), other = open_card("virtio_gpu"), camera = open_still_camera();
  int file = (int)MUST(open("/proc/self/status", O_RDONLY));
  int paths = (int)MUST(open("/", O_PATH));
  int ends[2];
  MUST(pipe(ends));
  struct v4l2_requestbuffers request = {.count = 1, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_DMABUF};
  MUST(ioctl(camera, VIDIOC_REQBUFS, &request));
  const struct {
    const char *name;
    int fd;
  } numbers[] = {
      {"nothing", -1}, {"less than nothing", -7}, {"no such", 700}, {"none so large", 0x7fffffff}, {"input", 0}, {"a file", file},
      {"a pipe", ends[0]}, {"a path", paths}, {"the camera", camera}, {"the card", card}, {"one of the driver's numbers", 512},
      {"one of the window", 1000},
  };
  for (size_t i = 0; i < COUNT(numbers); i++) {
    say("%s:", numbers[i].name);
    SAY(" import", import_fd(card, numbers[i].fd));
    SAY(" import elsewhere", import_fd(other, numbers[i].fd));
    SAY(" queue", queue_fd(camera, numbers[i].fd));
    struct dma_buf_import_sync_file import = {.flags = DMA_BUF_SYNC_WRITE, .fd = numbers[i].fd};
    struct dumb dumb = make_dumb(card);
    int buffer = (int)MUST(export_handle(card, dumb.handle, DRM_CLOEXEC | DRM_RDWR));
    SAY(" as a fence", ioctl(buffer, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &import));
    MUST(close(buffer));
  }
  struct dumb dumb = make_dumb(card);
  int buffer = (int)MUST(export_handle(card, dumb.handle, DRM_CLOEXEC | DRM_RDWR));
  struct dma_buf_import_sync_file import = {.flags = DMA_BUF_SYNC_WRITE, .fd = buffer};
  SAY("a buffer as a fence", ioctl(buffer, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &import));
  SAY("no such handle", export_handle(card, 4711, DRM_CLOEXEC));
  SAY("bad flags", export_handle(card, dumb.handle, 0x40));
  struct drm_prime_handle *nowhere = NULL;
  SAY("nowhere", ioctl(card, DRM_IOCTL_PRIME_FD_TO_HANDLE, nowhere));
  SAY("to nowhere", ioctl(card, DRM_IOCTL_PRIME_HANDLE_TO_FD, nowhere));
}

/* vgem's fences: attached to a buffer, taken from it as a file, polled, merged, and signalled. */
static void fences(void) {
  int card = open_card("vgem");
  struct dumb dumb = make_dumb(card);
  int fd = (int)MUST(export_handle(card, dumb.handle, DRM_CLOEXEC | DRM_RDWR));
  say("without a fence: %s", readiness(fd, POLLIN | POLLOUT));
  struct vgem_fence_attach attach = {.handle = dumb.handle, .flags = VGEM_FENCE_WRITE};
  SAY("attached", ioctl(card, VGEM_FENCE_ATTACH, &attach));
  struct dma_buf_export_sync_file export = {.flags = DMA_BUF_SYNC_RW, .fd = -1};
  SAY("taken", ioctl(fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &export));
  say("closed on exec: %d", (fcntl(export.fd, F_GETFD) & FD_CLOEXEC) != 0);
  say("fence: %s", readiness(export.fd, POLLIN));
  struct sync_merge_data merge = {.name = "both", .fd2 = export.fd, .fence = -1};
  SAY("merged", ioctl(export.fd, SYNC_IOC_MERGE, &merge));
  say("third: %d, %s", merge.fence != export.fd && merge.fence >= 0, readiness(merge.fence, POLLIN));
  say("second kept: %d", merge.fd2 == export.fd);
  struct sync_fence_info infos[4] = {0};
  struct sync_file_info info = {0};
  SAY("how many", ioctl(merge.fence, SYNC_IOC_FILE_INFO, &info));
  say("status %d, fences %u", info.status, info.num_fences);
  info.sync_fence_info = (uintptr_t)infos;
  info.num_fences = COUNT(infos);
  SAY("which", ioctl(merge.fence, SYNC_IOC_FILE_INFO, &info));
  say("fences %u: %s of %s, status %d", info.num_fences, infos[0].obj_name, infos[0].driver_name, infos[0].status);
  SAY("no memory", map_fd(export.fd, 4096, PROT_READ) != NULL);
  SAY("no position", lseek(export.fd, 0, SEEK_END));
  struct dma_buf_sync sync = {.flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ};
  SAY("no buffer", ioctl(export.fd, DMA_BUF_IOCTL_SYNC, &sync));
  SAY("not imported", import_fd(card, export.fd));
  struct vgem_fence_signal signal = {.fence = attach.out_fence};
  SAY("signalled", ioctl(card, VGEM_FENCE_SIGNAL, &signal));
  struct pollfd question = {.fd = export.fd, .events = POLLIN};
  SAY("told", poll(&question, 1, 5000));
  say("fence: %s", readiness(export.fd, POLLIN));
  SAY("again", ioctl(card, VGEM_FENCE_SIGNAL, &signal));
  struct dma_buf_import_sync_file import = {.flags = DMA_BUF_SYNC_WRITE, .fd = merge.fence};
  SAY("given back", ioctl(fd, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &import));
  merge.fd2 = 700;
  SAY("with nothing", ioctl(export.fd, SYNC_IOC_MERGE, &merge));
  merge.fd2 = fd;
  SAY("with a buffer", ioctl(export.fd, SYNC_IOC_MERGE, &merge));
}

/* Copies of a descriptor are the same file, wherever they are. */
static void copies(void) {
  struct video video = open_mapped(1);
  memset(video.buffer[0].bytes, 0x11, video.buffer[0].length);
  int card = open_card("vgem");
  int fd = (int)MUST(export_buffer(video.fd, 0, O_RDWR));
  int other = (int)SAY_OK("copied", dup(fd));
  int third = (int)SAY_OK("copied once more", fcntl(fd, F_DUPFD_CLOEXEC, 0));
  say("same file: %d %d", is_same_file(fd, other), is_same_file(fd, third));
  MUST(close(fd));
  MUST(close(third));
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    uint8_t *pixels = map_fd(other, video.buffer[0].length, PROT_READ | PROT_WRITE);
    say("mapped by the child: %d", pixels != NULL && pixels[100] == 0x11);
    if (pixels) pixels[100] = 0x22;
    /* A file of its own, whose driver is asked in another process. */
    int own = open_card("vgem");
    long handle = SAY_OK("imported by the child", import_fd(own, other));
    int again = (int)SAY_OK("exported by the child", export_handle(own, (uint32_t)handle, DRM_CLOEXEC | DRM_RDWR));
    say("same file: %d", is_same_file(other, again));
    uint8_t *theirs = map_fd(again, video.buffer[0].length, PROT_READ);
    say("same pages: %d", theirs && theirs[100] == 0x22);
    /* Once more, by a number that this process has now. */
    SAY_OK("imported again", import_fd(open_card("vgem"), other));
    _exit(0);
  }
  say_end("child", child);
  say("written by the child: %d", ((uint8_t *)video.buffer[0].bytes)[100]);
  SAY_OK("imported by the parent", import_fd(card, other));
}

static void send_fd(int channel, int fd) {
  char byte = 'x', control[CMSG_SPACE(sizeof fd)] = {0};
  struct iovec vector = {&byte, 1};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(part), &fd, sizeof fd);
  MUST(sendmsg(channel, &message, 0));
}

static int receive_fd(int channel) {
  char byte, control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec vector = {&byte, 1};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  MUST(recvmsg(channel, &message, 0));
  struct cmsghdr *part = CMSG_FIRSTHDR(&message);
  int fd = -1;
  if (part && part->cmsg_type == SCM_RIGHTS) memcpy(&fd, CMSG_DATA(part), sizeof fd);
  return fd;
}

/* Sent to another process, a buffer is imported there, as a compositor imports its clients' pictures. */
static void sent(void) {
  int ends[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    MUST(close(ends[0]));
    int fd = receive_fd(ends[1]);
    say("received: %d", fd >= 0);
    uint8_t *own = map_fd(fd, FRAME_BYTES, PROT_READ | PROT_WRITE);
    say("mapped as it came: %d", own && own[1] == 0x44);
    struct dma_buf_sync sync = {.flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ};
    SAY("sync", ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync));
    int card = open_card("vgem");
    long handle = SAY_OK("imported", import_fd(card, fd));
    int again = (int)SAY_OK("exported", export_handle(card, (uint32_t)handle, DRM_CLOEXEC | DRM_RDWR));
    uint8_t *pixels = map_fd(again, FRAME_BYTES, PROT_READ | PROT_WRITE);
    say("same picture: %d", pixels && pixels[0] == 0x44);
    if (pixels) pixels[0] = 0x55;
    MUST(write(ends[1], "d", 1));
    char byte;
    (void)!read(ends[1], &byte, 1);
    _exit(0);
  }
  MUST(close(ends[1]));
  int card = open_card("vgem");
  struct dumb dumb = make_dumb(card);
  memset(dumb.pixels, 0x44, dumb.bytes);
  int fd = (int)MUST(export_handle(card, dumb.handle, DRM_CLOEXEC | DRM_RDWR));
  send_fd(ends[0], fd);
  MUST(close(fd));
  char byte = 0;
  (void)!read(ends[0], &byte, 1);
  say("used by the other: %d", byte == 'd' && dumb.pixels[0] == 0x55);
  MUST(close(ends[0]));
  say_end("child", child);
}

/* Buffers of vivid's output, prepared for its capture: what the queue is asked of them is what it was given. */
static void prepared(void) {
  int output = (int)MUST(open("/dev/video1", O_RDWR)), camera = open_still_camera();
  struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_OUTPUT};
  MUST(ioctl(output, VIDIOC_G_FMT, &format));
  struct v4l2_requestbuffers request = {.count = 3, .type = V4L2_BUF_TYPE_VIDEO_OUTPUT, .memory = V4L2_MEMORY_MMAP};
  MUST(ioctl(output, VIDIOC_REQBUFS, &request));
  request = (struct v4l2_requestbuffers){.count = 3, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_DMABUF};
  MUST(ioctl(camera, VIDIOC_REQBUFS, &request));
  for (unsigned i = 0; i < 3; i++) {
    struct v4l2_exportbuffer export = {.type = V4L2_BUF_TYPE_VIDEO_OUTPUT, .index = i, .flags = O_CLOEXEC | O_RDWR};
    SAY("exported", ioctl(output, VIDIOC_EXPBUF, &export));
    struct v4l2_buffer buffer = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_DMABUF, .index = i};
    SAY("asked", ioctl(camera, VIDIOC_QUERYBUF, &buffer));
    buffer.m.fd = (int)0xdeadbeef;
    SAY("nonsense", ioctl(camera, VIDIOC_PREPARE_BUF, &buffer));
    SAY("asked again", ioctl(camera, VIDIOC_QUERYBUF, &buffer));
    buffer.m.fd = export.fd;
    SAY("prepared", ioctl(camera, VIDIOC_PREPARE_BUF, &buffer));
    say("as given: %d", buffer.m.fd == export.fd);
    SAY("asked", ioctl(camera, VIDIOC_QUERYBUF, &buffer));
    say("as given: %d", buffer.m.fd == export.fd);
    buffer.m.fd = -1;
    SAY("queued", ioctl(camera, VIDIOC_QBUF, &buffer));
    say("as given: %d", buffer.m.fd == export.fd);
  }
}

/* A descriptor closes while the driver uses what it leads to. */
static void closed_in_use(void) {
  int camera = open_still_camera(), card = open_card("vgem");
  struct dumb dumb = make_dumb(card);
  int fd = (int)MUST(export_handle(card, dumb.handle, DRM_CLOEXEC | DRM_RDWR));
  struct v4l2_requestbuffers request = {.count = 1, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_DMABUF};
  MUST(ioctl(camera, VIDIOC_REQBUFS, &request));
  SAY("queued", queue_fd(camera, fd));
  SAY("closed", close(fd));
  SAY("card closed", close(card));
  SAY("streaming", stream(camera, true));
  struct v4l2_buffer buffer = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_DMABUF};
  SAY("a frame", ioctl(camera, VIDIOC_DQBUF, &buffer));
  unsigned lit = 0;
  for (size_t i = 0; i < FRAME_BYTES; i++) lit += dumb.pixels[i] != 0;
  say("it is there: %d", lit > FRAME_BYTES / 4);
}

/* Explicit fences of an atomic commit, where the properties are: a commit waits for the one and makes the other. */
struct property {
  uint32_t object, id;
  uint64_t value;
};

static uint32_t property_id(int card, uint32_t object, uint32_t type, const char *name) {
  uint32_t ids[64];
  uint64_t values[64];
  struct drm_mode_obj_get_properties all = {
      .props_ptr = (uintptr_t)ids, .prop_values_ptr = (uintptr_t)values, .count_props = 64, .obj_id = object, .obj_type = type};
  MUST(ioctl(card, DRM_IOCTL_MODE_OBJ_GETPROPERTIES, &all));
  uint32_t found = 0;
  for (uint32_t i = 0; i < all.count_props && i < 64; i++) {
    struct drm_mode_get_property property = {.prop_id = ids[i]};
    MUST(ioctl(card, DRM_IOCTL_MODE_GETPROPERTY, &property));
    if (strcmp(property.name, name) == 0) found = ids[i];
  }
  return found;
}

static int commit(int card, uint32_t flags, uint32_t plane, const struct property *on_plane, uint32_t plane_count, uint32_t crtc,
                  const struct property *on_crtc, uint32_t crtc_count) {
  uint32_t objects[2] = {plane, crtc}, counts[2] = {plane_count, crtc_count}, ids[32];
  uint64_t values[32];
  for (uint32_t i = 0; i < plane_count; i++) ids[i] = on_plane[i].id, values[i] = on_plane[i].value;
  for (uint32_t i = 0; i < crtc_count; i++) ids[plane_count + i] = on_crtc[i].id, values[plane_count + i] = on_crtc[i].value;
  struct drm_mode_atomic atomic = {.flags = flags,
                                   .count_objs = crtc_count ? 2 : 1,
                                   .objs_ptr = (uintptr_t)objects,
                                   .count_props_ptr = (uintptr_t)counts,
                                   .props_ptr = (uintptr_t)ids,
                                   .prop_values_ptr = (uintptr_t)values};
  return ioctl(card, DRM_IOCTL_MODE_ATOMIC, &atomic);
}

/* A fence of vgem's that nobody has signalled yet, as a file; `signal` is what signals it. */
static int make_fence(int vgem, struct vgem_fence_signal *signal) {
  struct dumb dumb = make_dumb(vgem);
  int fd = (int)MUST(export_handle(vgem, dumb.handle, DRM_CLOEXEC | DRM_RDWR));
  struct vgem_fence_attach attach = {.handle = dumb.handle, .flags = VGEM_FENCE_WRITE};
  MUST(ioctl(vgem, VGEM_FENCE_ATTACH, &attach));
  struct dma_buf_export_sync_file export = {.flags = DMA_BUF_SYNC_RW, .fd = -1};
  MUST(ioctl(fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &export));
  signal->fence = attach.out_fence;
  return export.fd;
}

static void commit_fences(void) {
  int card = open_card("virtio_gpu"), vgem = open_card("vgem");
  struct drm_set_client_cap atomic = {.capability = DRM_CLIENT_CAP_ATOMIC, .value = 1};
  MUST(ioctl(card, DRM_IOCTL_SET_CLIENT_CAP, &atomic));
  uint32_t crtcs[8], connectors[8], planes[8];
  struct drm_mode_card_res resources = {
      .crtc_id_ptr = (uintptr_t)crtcs, .count_crtcs = 8, .connector_id_ptr = (uintptr_t)connectors, .count_connectors = 8};
  MUST(ioctl(card, DRM_IOCTL_MODE_GETRESOURCES, &resources));
  struct drm_mode_get_plane_res list = {.plane_id_ptr = (uintptr_t)planes, .count_planes = 8};
  MUST(ioctl(card, DRM_IOCTL_MODE_GETPLANERESOURCES, &list));
  struct drm_mode_modeinfo modes[64];
  struct drm_mode_get_connector connector = {.connector_id = connectors[0], .modes_ptr = (uintptr_t)modes, .count_modes = 64};
  MUST(ioctl(card, DRM_IOCTL_MODE_GETCONNECTOR, &connector));
  struct drm_mode_create_dumb made = {.width = modes[0].hdisplay, .height = modes[0].vdisplay, .bpp = 32};
  MUST(ioctl(card, DRM_IOCTL_MODE_CREATE_DUMB, &made));
  struct drm_mode_fb_cmd2 frame = {
      .width = made.width, .height = made.height, .pixel_format = 0x34325258, .handles = {made.handle}, .pitches = {made.pitch}};
  MUST(ioctl(card, DRM_IOCTL_MODE_ADDFB2, &frame));
  struct drm_mode_crtc set = {
      .set_connectors_ptr = (uintptr_t)connectors, .count_connectors = 1, .crtc_id = crtcs[0], .fb_id = frame.fb_id, .mode_valid = 1, .mode = modes[0]};
  SAY("mode", ioctl(card, DRM_IOCTL_MODE_SETCRTC, &set));

  uint32_t plane = planes[0], crtc = crtcs[0];
  uint32_t in = property_id(card, plane, DRM_MODE_OBJECT_PLANE, "IN_FENCE_FD"), id_fb = property_id(card, plane, DRM_MODE_OBJECT_PLANE, "FB_ID");
  uint32_t out = property_id(card, crtc, DRM_MODE_OBJECT_CRTC, "OUT_FENCE_PTR"), active = property_id(card, crtc, DRM_MODE_OBJECT_CRTC, "ACTIVE");
  say("properties: %d", in && out && id_fb && active);
  struct vgem_fence_signal signal = {0};
  int fence = make_fence(vgem, &signal), done = 4711;
  struct property on_plane[] = {{plane, id_fb, frame.fb_id}, {plane, in, (uint64_t)fence}};
  struct property on_crtc[] = {{crtc, active, 1}, {crtc, out, (uintptr_t)&done}};
  SAY("tested", commit(card, DRM_MODE_ATOMIC_TEST_ONLY, plane, on_plane, 2, crtc, on_crtc, 2));
  say("none made: %d", done);
  SAY("committed", commit(card, DRM_MODE_ATOMIC_NONBLOCK, plane, on_plane, 2, crtc, on_crtc, 2));
  say("made: %d, closed on exec: %d, %s", done >= 0, (fcntl(done, F_GETFD) & FD_CLOEXEC) != 0, readiness(done, POLLIN));
  SAY("signalled", ioctl(vgem, VGEM_FENCE_SIGNAL, &signal));
  struct pollfd question = {.fd = done, .events = POLLIN};
  SAY("shown", poll(&question, 1, 5000));
  struct sync_file_info info = {0};
  SAY("which", ioctl(done, SYNC_IOC_FILE_INFO, &info));
  say("status %d, fences %u", info.status, info.num_fences);
  MUST(close(done));

  const int64_t strange[] = {700, 0, card, -2, 0xffffffffll};
  for (size_t i = 0; i < COUNT(strange); i++) {
    on_plane[1].value = (uint64_t)strange[i];
    SAY("a strange fence", commit(card, DRM_MODE_ATOMIC_NONBLOCK, plane, on_plane, 2, crtc, on_crtc, 1));
  }
  on_plane[1].value = (uint64_t)-1;
  SAY("no fence", commit(card, 0, plane, on_plane, 2, crtc, on_crtc, 1));
  on_crtc[1].value = 0;
  SAY("to no address", commit(card, 0, plane, on_plane, 1, crtc, on_crtc, 2));
  on_crtc[1].value = 16;
  SAY("to a bad address", commit(card, 0, plane, on_plane, 1, crtc, on_crtc, 2));
}

static const struct test_case cases[] = {
    {"exported buffers", exported_buffers},
    {"from the camera into vgem", capture_into_vgem},
    {"from the camera into virtio_gpu", capture_into_virtio_gpu},
    {"the camera's buffers in vgem", camera_to_vgem},
    {"strange numbers", strange_numbers},
    {"fences", fences},
    {"copies", copies},
    {"sent", sent},
    {"fences of a commit", commit_fences},
    {"prepared", prepared},
    {"closed in use", closed_in_use},
};

int main(int argc, char **argv) { return run_cases(cases, COUNT(cases), argc, argv); }
