/* Two guests and a buffer of one of them: `passing_guests give PATH` makes one and sends its descriptor over a socket of the machine's own
 * file system, which guests share; `passing_guests take PATH` gets it and tries what it can; `passing_guests guess` has nothing but numbers. `passing_guests exhaust` takes
 * as much as it gets, and `passing_guests show` has the camera draw on the screen. */
#include "passing.h"

#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un address_of(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  return address;
}

static void give(const char *path) {
  int card = open_card("vgem"), camera = open_video(0);
  struct dumb dumb = make_dumb(card);
  memset(dumb.pixels, 0x66, dumb.bytes);
  int fd = (int)MUST(export_handle(card, dumb.handle, DRM_CLOEXEC | DRM_RDWR));
  int listener = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  struct sockaddr_un address = address_of(path);
  MUST(bind(listener, (struct sockaddr *)&address, sizeof address));
  MUST(listen(listener, 1));
  say("listening");
  int peer = (int)MUST(accept(listener, NULL, NULL));
  int sent[2] = {fd, camera};
  char byte = 'x', control[CMSG_SPACE(sizeof sent)] = {0};
  struct iovec vector = {&byte, 1};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(sizeof sent);
  memcpy(CMSG_DATA(part), sent, sizeof sent);
  MUST(sendmsg(peer, &message, 0));
  (void)!read(peer, &byte, 1);
  unsigned wrong = 0;
  for (size_t i = 0; i < dumb.bytes; i++) wrong += dumb.pixels[i] != 0x66;
  say("bytes that the other changed: %u", wrong);
  /* It is the owner's all the same, who may let go of it while the other still holds on. */
  SAY_OK("imported by the owner", import_fd(card, fd));
  SAY("sought by the owner", lseek(fd, 0, SEEK_SET));
  SAY("closed by the owner", close(fd));
}

/* A socket can be mapped, but there is nothing behind the address. */
static bool can_see(int fd, int protection) {
  void *mapped = map_fd(fd, 4096, protection);
  int ends[2];
  MUST(pipe(ends));
  bool sees = mapped && write(ends[1], mapped, 1) == 1;
  MUST(close(ends[0]));
  MUST(close(ends[1]));
  return sees;
}

static void try_all(int fd) {
  int card = open_card("vgem"), other = open_card("virtio_gpu"), camera = open_video(0);
  MUST(set_format(camera, WIDTH, HEIGHT, V4L2_PIX_FMT_XBGR32));
  struct v4l2_requestbuffers request = {.count = 1, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_DMABUF};
  struct v4l2_buffer buffer = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_DMABUF, .m.fd = fd};
  struct dma_buf_sync sync = {.flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW};
  struct stat status;
  SAY("import", import_fd(card, fd));
  SAY("import elsewhere", import_fd(other, fd));
  MUST(ioctl(camera, VIDIOC_REQBUFS, &request));
  SAY("queue", ioctl(camera, VIDIOC_QBUF, &buffer));
  say("map: %d", can_see(fd, PROT_READ) || can_see(fd, PROT_READ | PROT_WRITE));
  say("size: %d", fstat(fd, &status) == 0 && status.st_size > 0);
  SAY("seek", lseek(fd, 0, SEEK_END));
  SAY("sync", ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync));
  SAY("query", ioctl(fd, VIDIOC_QUERYCAP, &(struct v4l2_capability){0}));
  MUST(close(camera));
  MUST(close(other));
  MUST(close(card));
}

static void take(const char *path) {
  int peer = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  struct sockaddr_un address = address_of(path);
  MUST(connect(peer, (struct sockaddr *)&address, sizeof address));
  int got[2] = {-1, -1};
  char byte, control[CMSG_SPACE(sizeof got)] = {0};
  struct iovec vector = {&byte, 1};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  MUST(recvmsg(peer, &message, 0));
  struct cmsghdr *part = CMSG_FIRSTHDR(&message);
  if (part && part->cmsg_len == CMSG_LEN(sizeof got)) memcpy(got, CMSG_DATA(part), sizeof got);
  say("received: %d", got[0] >= 0 && got[1] >= 0);
  for (int i = 0; i < 2; i++) {
    say("== where it came");
    try_all(got[i]);
    /* Where a guest's own descriptors are. */
    int placed = (int)MUST(dup2(got[i], 1000 + i));
    say("== in the window");
    try_all(placed);
  }
  MUST(write(peer, "d", 1));
}

/* Everything that a number can be. */
static void guess(void) {
  int card = open_card("vgem"), camera = open_video(0);
  MUST(set_format(camera, WIDTH, HEIGHT, V4L2_PIX_FMT_XBGR32));
  struct v4l2_requestbuffers request = {.count = 1, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_DMABUF};
  MUST(ioctl(camera, VIDIOC_REQBUFS, &request));
  unsigned imported = 0, queued = 0, opened = 0;
  for (int fd = -2; fd < 1100; fd++) {
    struct v4l2_buffer buffer = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_DMABUF, .m.fd = fd};
    imported += import_fd(card, fd) != -1;
    queued += ioctl(camera, VIDIOC_QBUF, &buffer) == 0;
  }
  for (uint32_t handle = 1; handle < 64; handle++) opened += export_handle(card, handle, DRM_CLOEXEC) >= 0;
  say("imported: %u, queued: %u, handles of others: %u", imported, queued, opened);
}

/* As many descriptors as a guest may have, and what comes after. */
static void exhaust(void) {
  int card = open_card("vgem"), count = 0, last = -1, next;
  struct dumb dumb = make_dumb(card);
  while ((next = export_handle(card, dumb.handle, DRM_CLOEXEC)) >= 0) last = next, count++;
  say("exported: %d, then %s", count, strerrorname_np(errno));
  MUST(close(last));
  SAY_OK("after closing one", export_handle(card, dumb.handle, DRM_CLOEXEC));
  SAY("one more", export_handle(card, dumb.handle, DRM_CLOEXEC));
  SAY_OK("a device is another matter", open("/dev/video0", O_RDWR));
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    SAY("the limit is the guest's, not the process's", export_handle(open_card("vgem"), make_dumb(card).handle, DRM_CLOEXEC));
    _exit(0);
  }
  say_end("child", child);
}

/* The camera's picture, captured into the buffer that is on the screen. */
static void show(void) {
  int card = open_card("virtio_gpu"), camera = open_video(0);
  uint32_t crtcs[8], connectors[8];
  struct drm_mode_card_res resources = {
      .crtc_id_ptr = (uintptr_t)crtcs, .count_crtcs = 8, .connector_id_ptr = (uintptr_t)connectors, .count_connectors = 8};
  MUST(ioctl(card, DRM_IOCTL_MODE_GETRESOURCES, &resources));
  struct drm_mode_modeinfo modes[64];
  struct drm_mode_get_connector connector = {.connector_id = connectors[0], .modes_ptr = (uintptr_t)modes, .count_modes = 64};
  MUST(ioctl(card, DRM_IOCTL_MODE_GETCONNECTOR, &connector));
  struct drm_mode_modeinfo *mode = NULL;
  for (uint32_t i = 0; i < connector.count_modes && i < COUNT(modes); i++)
    if (modes[i].hdisplay == 640 && modes[i].vdisplay == 480) mode = &modes[i];
  if (!mode) {
    say("no mode of 640x480");
    _exit(1);
  }
  struct drm_mode_create_dumb made = {.width = 640, .height = 480, .bpp = 32};
  MUST(ioctl(card, DRM_IOCTL_MODE_CREATE_DUMB, &made));
  MUST(set_format(camera, 640, 480, V4L2_PIX_FMT_XBGR32));
  MUST(set_control(camera, 0x00f0f001, 2));
  struct v4l2_requestbuffers request = {.count = 1, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_DMABUF};
  MUST(ioctl(camera, VIDIOC_REQBUFS, &request));
  struct v4l2_buffer buffer = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_DMABUF};
  buffer.m.fd = (int)MUST(export_handle(card, made.handle, DRM_CLOEXEC | DRM_RDWR));
  MUST(ioctl(camera, VIDIOC_QBUF, &buffer));
  MUST(stream(camera, true));
  MUST(ioctl(camera, VIDIOC_DQBUF, &buffer));
  struct drm_mode_fb_cmd frame = {.width = 640, .height = 480, .pitch = made.pitch, .bpp = 32, .depth = 24, .handle = made.handle};
  MUST(ioctl(card, DRM_IOCTL_MODE_ADDFB, &frame));
  struct drm_mode_crtc set = {
      .set_connectors_ptr = (uintptr_t)connectors, .count_connectors = 1, .crtc_id = crtcs[0], .fb_id = frame.fb_id, .mode_valid = 1, .mode = *mode};
  MUST(ioctl(card, DRM_IOCTL_MODE_SETCRTC, &set));
  struct drm_mode_fb_dirty_cmd dirty = {.fb_id = frame.fb_id};
  SAY("shown", ioctl(card, DRM_IOCTL_MODE_DIRTYFB, &dirty));
  getchar();
}

int main(int argc, char **argv) {
  alarm(3 * CASE_SECONDS_MAX);
  if (argc == 3 && strcmp(argv[1], "give") == 0)
    give(argv[2]);
  else if (argc == 3 && strcmp(argv[1], "take") == 0)
    take(argv[2]);
  else if (argc == 2 && strcmp(argv[1], "exhaust") == 0)
    exhaust();
  else if (argc == 2 && strcmp(argv[1], "show") == 0)
    show();
  else
    guess();
  return 0;
}
