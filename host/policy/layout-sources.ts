/** What one generated file takes from the installed UAPI headers. Facts only: numbers, sizes and offsets. */
export interface LayoutSource {
  /** File name below policies/__generated__, without its ending. */
  name: string;
  /** Headers that the probe includes, in order; the first is the one whose commands are listed. */
  headers: string[];
  /** Names of the macros in the first header that are taken with their values. */
  macros?: RegExp;
  /** Further constants, by their kernel identifiers. */
  constants?: string[];
  /** Constants that the headers give as macros with parameters, by a name of our own. */
  expressions?: Record<string, string>;
  /** Fields whose offsets are wanted, by struct; a nested field's dots become underscores. */
  structs?: Record<string, string[]>;
}

const ERRNOS =
  'EPERM EBADF EAGAIN ENOMEM EACCES EFAULT EBUSY ENODEV EINVAL ENOTTY EBADR EBADFD EOPNOTSUPP'.split(' ');
const POLL_EVENTS =
  'POLLIN POLLPRI POLLOUT POLLERR POLLHUP POLLRDNORM POLLRDBAND POLLWRNORM POLLWRBAND'.split(' ');

/** The buffer types for which a macro of videodev2.h says yes: a bit each. There are fewer than 32. */
function typesWith(macro: string): string {
  return Array.from({ length: 32 }, (_, type) => `((unsigned)${macro}(${type}) << ${type})`).join(' | ');
}

/** Where in a snd_pcm_hw_params the interval of a parameter is. */
function intervalOffset(parameter: string): string {
  const index = `SNDRV_PCM_HW_PARAM_${parameter} - SNDRV_PCM_HW_PARAM_FIRST_INTERVAL`;
  return `offsetof(struct snd_pcm_hw_params, intervals[${index}])`;
}

export const LAYOUT_SOURCES: readonly LayoutSource[] = [
  {
    name: 'kernel',
    headers: ['linux/errno.h', 'linux/poll.h', 'linux/fcntl.h', 'linux/mman.h'],
    constants: [...ERRNOS, ...POLL_EVENTS, 'O_ACCMODE', 'O_NONBLOCK', 'PROT_READ', 'PROT_WRITE', 'PROT_EXEC'],
  },
  {
    name: 'videodev2',
    headers: ['linux/videodev2.h'],
    macros: /^VIDIOC_\w+$/,
    constants: [
      'VIDEO_MAX_PLANES',
      'V4L2_CID_MAX_CTRLS',
      'V4L2_CTRL_WHICH_REQUEST_VAL',
      'V4L2_BUF_TYPE_VIDEO_OVERLAY',
      'V4L2_BUF_TYPE_VIDEO_OUTPUT_OVERLAY',
      'V4L2_MEMORY_MMAP',
      'V4L2_MEMORY_DMABUF',
      'V4L2_BUF_FLAG_REQUEST_FD',
      'V4L2_BUF_CAP_SUPPORTS_USERPTR',
      'V4L2_BUF_CAP_SUPPORTS_DMABUF',
      'V4L2_BUF_CAP_SUPPORTS_REQUESTS',
      'V4L2_CAP_READWRITE',
      'V4L2_CAP_VIDEO_OUTPUT',
      'V4L2_CAP_VIDEO_OUTPUT_MPLANE',
      'V4L2_CAP_VBI_OUTPUT',
      'V4L2_CAP_SLICED_VBI_OUTPUT',
      'V4L2_CAP_SDR_OUTPUT',
      'V4L2_CAP_META_OUTPUT',
      'V4L2_FBUF_CAP_BITMAP_CLIPPING',
    ],
    expressions: {
      OUTPUT_TYPES: typesWith('V4L2_TYPE_IS_OUTPUT'),
      MULTIPLANAR_TYPES: typesWith('V4L2_TYPE_IS_MULTIPLANAR'),
    },
    structs: {
      v4l2_capability: ['capabilities', 'device_caps'],
      v4l2_requestbuffers: ['count', 'type', 'memory', 'capabilities'],
      v4l2_create_buffers: ['index', 'count', 'memory', 'format.type', 'capabilities'],
      v4l2_buffer: ['type', 'flags', 'memory', 'm.offset', 'm.planes', 'length', 'request_fd'],
      v4l2_plane: ['m.mem_offset'],
      v4l2_format: ['type', 'fmt.win.clips', 'fmt.win.clipcount', 'fmt.win.bitmap'],
      v4l2_clip: ['next'],
      v4l2_framebuffer: ['capability', 'base'],
      v4l2_ext_controls: ['which', 'count', 'error_idx', 'request_fd', 'controls'],
      v4l2_ext_control: ['id', 'size', 'string'],
      v4l2_edid: ['start_block', 'blocks', 'edid'],
    },
  },
  {
    name: 'media',
    headers: ['linux/media.h'],
    macros: /^MEDIA_(?:IOC|REQUEST_IOC)_\w+$/,
    structs: {
      media_v2_topology: [
        'num_entities',
        'ptr_entities',
        'num_interfaces',
        'ptr_interfaces',
        'num_pads',
        'ptr_pads',
        'num_links',
        'ptr_links',
      ],
      media_v2_entity: [],
      media_v2_interface: [],
      media_v2_pad: [],
      media_v2_link: [],
    },
  },
  {
    name: 'ioctls',
    headers: ['asm-generic/ioctls.h', 'asm/termbits.h', 'asm/termios.h', 'linux/serial.h', 'linux/tty.h'],
    constants: ['N_TTY'],
    macros: /^(?:TC[GSXF]\w+|TIO(?!CPKT_|CSER_TEMT)\w+|FIO\w+)$/,
    structs: { termio: [], termios: [], termios2: [], winsize: [] },
  },
  {
    name: 'if_tun',
    headers: ['linux/if_tun.h', 'linux/ioctl.h', 'linux/if.h', 'linux/filter.h', 'linux/sockios.h'],
    macros: /^TUN(?:SET|GET|ATTACH|DETACH)\w+$/,
    constants: ['SIOCGIFHWADDR', 'SIOCSIFHWADDR', 'BPF_MAXINSNS', 'IFF_MULTI_QUEUE'],
    structs: {
      ifreq: ['ifr_name', 'ifr_flags'],
      sock_fprog: ['len', 'filter'],
      sock_filter: [],
      tun_filter: ['flags', 'count', 'addr'],
    },
  },
  {
    name: 'asound',
    headers: ['sound/asound.h', 'linux/ioctl.h'],
    macros: /^SNDRV_(?:HWDEP|PCM|TIMER|CTL)_IOCTL_\w+$/,
    constants: [
      'SNDRV_PCM_MMAP_OFFSET_DATA',
      'SNDRV_PCM_MMAP_OFFSET_STATUS_OLD',
      'SNDRV_PCM_MMAP_OFFSET_CONTROL_OLD',
      'SNDRV_PCM_MMAP_OFFSET_STATUS_NEW',
      'SNDRV_PCM_MMAP_OFFSET_CONTROL_NEW',
      'SNDRV_TIMER_CLASS_SLAVE',
    ],
    expressions: {
      FRAME_BITS: intervalOffset('FRAME_BITS'),
      CHANNELS: intervalOffset('CHANNELS'),
      MMAP_ACCESSES: ['INTERLEAVED', 'NONINTERLEAVED', 'COMPLEX']
        .map((kind) => `1u << SNDRV_PCM_ACCESS_MMAP_${kind}`)
        .join(' | '),
      MMAP_INFOS: 'SNDRV_PCM_INFO_MMAP | SNDRV_PCM_INFO_MMAP_VALID',
    },
    structs: {
      snd_xferi: ['buf', 'frames'],
      snd_xfern: ['bufs', 'frames'],
      snd_ctl_elem_list: ['space', 'pids'],
      snd_ctl_elem_id: [],
      snd_pcm_info: ['id'],
      snd_pcm_hw_params: ['masks', 'info'],
      snd_ctl_tlv: ['length'],
      snd_timer_select: ['id.dev_class'],
    },
  },
];
