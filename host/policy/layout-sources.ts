/** What one generated file takes from the installed UAPI headers. Facts only: numbers, sizes and offsets. */
export interface LayoutSource {
  /** File name below policies/__generated__, without its ending. */
  name: string;
  /** Headers that the probe includes, in order; the first is the one whose commands are listed. */
  headers: string[];
  /** The Debian package of the headers; linux-libc-dev where it isn't said. */
  package?: string;
  /** C text after the headers: what the kernel has and an older copy of its header lacks. */
  declarations?: string;
  /** Names of the macros in the first header that are taken with their values. */
  macros?: RegExp;
  /** The device class whose commands the macros are. */
  class?: string;
  /** Which of the macros are the class's commands, where not all are. */
  commands?: RegExp;
  /** Further constants, by their kernel identifiers. */
  constants?: string[];
  /** Constants that the headers give as macros with parameters, by a name of our own. */
  expressions?: Record<string, string>;
  /** Fields whose offsets are wanted, by struct; a nested field's dots become underscores. */
  structs?: Record<string, string[]>;
}

const ERRNOS =
  'EPERM ENOENT EBADF EAGAIN ENOMEM EACCES EFAULT EBUSY ENODEV EINVAL ENOTTY EBADR EBADFD EOPNOTSUPP'.split(
    ' ',
  );
const POLL_EVENTS =
  'POLLIN POLLPRI POLLOUT POLLERR POLLHUP POLLRDNORM POLLRDBAND POLLWRNORM POLLWRBAND'.split(' ');

/** The buffer types for which a macro of videodev2.h says yes: a bit each. There are fewer than 32. */
function typesWith(macro: string): string {
  return Array.from({ length: 32 }, (_, type) => `((unsigned)${macro}(${type}) << ${type})`).join(' | ');
}

/**
 * What linux/virtgpu_drm.h has since 5.16 and the copy in Debian 12's libdrm-dev lacks. EXECBUFFER has grown, and the DRM core tells
 * commands by their number alone, so that programs use either size.
 */
const VIRTGPU_SINCE_5_16 = `#ifndef VIRTGPU_BLOB_MEM_GUEST
struct drm_virtgpu_resource_create_blob {
  __u32 blob_mem, blob_flags, bo_handle, res_handle; __u64 size; __u32 pad, cmd_size; __u64 cmd, blob_id;
};
struct drm_virtgpu_context_set_param { __u64 param, value; };
struct drm_virtgpu_context_init { __u32 num_params, pad; __u64 ctx_set_params; };
#endif
struct drm_virtgpu_execbuffer_ring {
  __u32 flags, size; __u64 command, bo_handles; __u32 num_bo_handles; __s32 fence_fd; __u32 ring_idx, pad;
};`;

/** Where in a snd_pcm_hw_params the interval of a parameter is. */
function intervalOffset(parameter: string): string {
  const index = `SNDRV_PCM_HW_PARAM_${parameter} - SNDRV_PCM_HW_PARAM_FIRST_INTERVAL`;
  return `offsetof(struct snd_pcm_hw_params, intervals[${index}])`;
}

export const LAYOUT_SOURCES: readonly LayoutSource[] = [
  {
    name: 'kernel',
    headers: ['linux/errno.h', 'linux/poll.h', 'linux/fcntl.h', 'linux/mman.h'],
    constants: [
      ...ERRNOS,
      ...POLL_EVENTS,
      'O_ACCMODE',
      'O_NONBLOCK',
      'PROT_READ',
      'PROT_WRITE',
      'PROT_EXEC',
      'O_CLOEXEC',
    ],
  },
  {
    name: 'videodev2',
    headers: ['linux/videodev2.h'],
    macros: /^VIDIOC_\w+$/,
    class: 'v4l2',
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
      'V4L2_FBUF_CAP_BITMAP_CLIPPING',
    ],
    expressions: {
      OUTPUT_TYPES: typesWith('V4L2_TYPE_IS_OUTPUT'),
      MULTIPLANAR_TYPES: typesWith('V4L2_TYPE_IS_MULTIPLANAR'),
      // What tells an output device from a capture device.
      OUTPUT_CAPS: 'VIDEO_OUTPUT VIDEO_OUTPUT_MPLANE VBI_OUTPUT SLICED_VBI_OUTPUT SDR_OUTPUT META_OUTPUT'
        .split(' ')
        .map((kind) => `V4L2_CAP_${kind}`)
        .join(' | '),
    },
    structs: {
      v4l2_capability: ['capabilities', 'device_caps'],
      v4l2_requestbuffers: ['count', 'type', 'memory', 'capabilities'],
      v4l2_create_buffers: ['index', 'count', 'memory', 'format.type', 'capabilities'],
      v4l2_buffer: ['type', 'flags', 'memory', 'm.offset', 'm.planes', 'length', 'request_fd'],
      v4l2_plane: ['m.mem_offset'],
      v4l2_exportbuffer: ['flags', 'fd'],
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
    class: 'media',
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
    class: 'pty',
    // FIO* belong to every file, and the host answers them for all classes.
    commands: /^(?:TC|TIO)/,
    structs: { termio: [], termios: [], termios2: [], winsize: [] },
  },
  {
    name: 'if_tun',
    headers: ['linux/if_tun.h', 'linux/ioctl.h', 'linux/if.h', 'linux/filter.h', 'linux/sockios.h'],
    macros: /^(?:TUN(?:SET|GET|ATTACH|DETACH)|SIOC[GS]IFHWADDR)\w*$/,
    class: 'tun',
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
    class: 'alsa',
    headers: ['sound/asound.h', 'linux/ioctl.h'],
    macros: /^SNDRV_(?:HWDEP|PCM|RAWMIDI|TIMER|CTL)_IOCTL_\w+$/,
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
    },
    structs: {
      snd_xferi: ['buf', 'frames'],
      snd_xfern: ['bufs', 'frames'],
      snd_ctl_elem_list: ['space', 'pids'],
      snd_ctl_elem_id: [],
      snd_pcm_hw_params: [],
      snd_ctl_tlv: ['length'],
      snd_timer_select: ['id.dev_class'],
    },
  },
  {
    name: 'input',
    class: 'evdev',
    headers: ['linux/input.h'],
    macros: /^EVIOC\w+$/,
    // The commands with parameters, without a size.
    expressions: Object.fromEntries(
      'NAME PHYS UNIQ PROP MTSLOTS KEY LED SND SW'
        .split(' ')
        .map((name): [string, string] => [`EVIOCG${name}`, `EVIOCG${name}(0)`])
        .concat([
          ['EVIOCGBIT', 'EVIOCGBIT(0, 0)'],
          ['EVIOCGABS', 'EVIOCGABS(0) & ~IOCSIZE_MASK'],
          ['EVIOCSABS', 'EVIOCSABS(0) & ~IOCSIZE_MASK'],
        ]),
    ),
    constants: 'EV_SYN EV_LED EV_SND EV_REP EV_FF EV_MAX ABS_MAX FF_PERIODIC FF_CUSTOM'.split(' '),
    structs: {
      input_event: ['type'],
      input_absinfo: ['resolution'],
      input_keymap_entry: [],
      input_mask: ['codes_size', 'codes_ptr'],
      ff_effect: ['type', 'u.periodic.waveform', 'u.periodic.custom_len', 'u.periodic.custom_data'],
    },
  },
  {
    name: 'uinput',
    class: 'uinput',
    headers: ['linux/uinput.h'],
    macros: /^UI_(?:DEV|SET|ABS|BEGIN|END|GET)\w*$/,
    expressions: { UI_GET_SYSNAME: 'UI_GET_SYSNAME(0)' },
    structs: { uinput_ff_upload: ['effect.u.periodic.custom_data', 'old.u.periodic.custom_data'] },
  },
  {
    name: 'drm',
    class: 'drm',
    headers: ['libdrm/drm.h'],
    package: 'libdrm-dev',
    macros: /^DRM_IOCTL_(?!BASE$)\w+$/,
    constants: ['DRM_PROP_NAME_LEN'],
    structs: {
      drm_version: ['name_len', 'name', 'date_len', 'date', 'desc_len', 'desc'],
      drm_unique: ['unique_len', 'unique'],
      drm_gem_flink: ['name'],
      drm_gem_open: ['name'],
      drm_prime_handle: ['flags', 'fd'],
      drm_syncobj_handle: ['flags', 'fd'],
      drm_clip_rect: [],
      drm_mode_card_res: [
        ...['fb_id_ptr', 'crtc_id_ptr', 'connector_id_ptr', 'encoder_id_ptr'],
        ...['count_fbs', 'count_crtcs', 'count_connectors', 'count_encoders'],
      ],
      drm_mode_crtc: ['set_connectors_ptr', 'count_connectors', 'fb_id'],
      drm_mode_crtc_lut: ['gamma_size', 'red', 'green', 'blue'],
      drm_mode_get_connector: [
        ...['encoders_ptr', 'modes_ptr', 'props_ptr', 'prop_values_ptr'],
        ...['count_modes', 'count_props', 'count_encoders'],
      ],
      drm_mode_modeinfo: [],
      drm_mode_get_property: [
        'values_ptr',
        'enum_blob_ptr',
        'prop_id',
        'name',
        'count_values',
        'count_enum_blobs',
      ],
      drm_mode_property_enum: [],
      drm_mode_connector_set_property: ['prop_id'],
      drm_mode_obj_set_property: ['prop_id'],
      drm_mode_obj_get_properties: ['props_ptr', 'prop_values_ptr', 'count_props'],
      drm_mode_get_blob: ['length', 'data'],
      drm_mode_create_blob: ['data', 'length'],
      drm_mode_fb_cmd: ['fb_id'],
      drm_mode_fb_cmd2: ['fb_id'],
      drm_mode_crtc_page_flip: ['fb_id'],
      drm_mode_fb_dirty_cmd: ['fb_id', 'num_clips', 'clips_ptr'],
      drm_mode_map_dumb: ['offset'],
      drm_mode_get_plane_res: ['plane_id_ptr', 'count_planes'],
      drm_mode_get_plane: ['count_format_types', 'format_type_ptr'],
      drm_mode_set_plane: ['fb_id'],
      drm_mode_atomic: ['count_objs', 'objs_ptr', 'count_props_ptr', 'props_ptr', 'prop_values_ptr'],
      drm_syncobj_wait: ['handles', 'count_handles'],
      drm_syncobj_array: ['handles', 'count_handles'],
      drm_syncobj_timeline_wait: ['handles', 'points', 'count_handles'],
      drm_syncobj_timeline_array: ['handles', 'points', 'count_handles'],
      drm_mode_list_lessees: ['count_lessees', 'lessees_ptr'],
      drm_mode_get_lease: ['count_objects', 'objects_ptr'],
    },
  },
  {
    name: 'virtgpu_drm',
    class: 'drm',
    headers: ['libdrm/virtgpu_drm.h'],
    package: 'libdrm-dev',
    declarations: VIRTGPU_SINCE_5_16,
    macros: /^DRM_IOCTL_(?:VIRTGPU|VGEM)_\w+$/,
    constants: ['VIRTGPU_EXECBUF_FENCE_FD_IN', 'VIRTGPU_EXECBUF_FENCE_FD_OUT', 'VIRTGPU_WAIT_NOWAIT'],
    expressions: {
      DRM_IOCTL_VIRTGPU_EXECBUFFER_RING: "_IOWR('d', 0x42, struct drm_virtgpu_execbuffer_ring)",
      DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_BLOB: "_IOWR('d', 0x4a, struct drm_virtgpu_resource_create_blob)",
      // Of drm/vgem_drm.h, which no Debian package installs: two words.
      DRM_IOCTL_VGEM_FENCE_SIGNAL: "_IOW('d', 0x42, __u64)",
      DRM_IOCTL_VIRTGPU_CONTEXT_INIT: "_IOWR('d', 0x4b, struct drm_virtgpu_context_init)",
    },
    structs: {
      drm_virtgpu_map: ['offset'],
      drm_virtgpu_execbuffer: ['flags', 'size', 'command', 'bo_handles', 'num_bo_handles', 'fence_fd'],
      drm_virtgpu_getparam: ['value'],
      drm_virtgpu_3d_wait: ['flags'],
      drm_virtgpu_get_caps: ['addr', 'size'],
      drm_virtgpu_resource_create_blob: ['cmd_size', 'cmd'],
      drm_virtgpu_context_init: ['num_params', 'ctx_set_params'],
      drm_virtgpu_context_set_param: [],
    },
  },
  {
    name: 'dma-buf',
    class: 'dma-buf',
    headers: ['linux/dma-buf.h'],
    macros: /^DMA_BUF_(?:IOCTL|SET_NAME)\w*$/,
    structs: { dma_buf_export_sync_file: ['fd'], dma_buf_import_sync_file: ['fd'] },
  },
  {
    name: 'sync_file',
    class: 'dma-buf',
    headers: ['linux/sync_file.h'],
    macros: /^SYNC_IOC_(?!MAGIC$)\w+$/,
    structs: {
      sync_merge_data: ['fd2', 'fence'],
      sync_file_info: ['num_fences', 'sync_fence_info'],
      sync_fence_info: [],
    },
  },
];

/** A class whose header no Debian package installs: its commands by name, constants and offsets, copied as facts. */
export interface NotedSource {
  /** File name below policies/__generated__, without its ending. */
  name: string;
  class: string;
  /** The header, and where it is to be found. */
  header: string;
  commands: Readonly<Record<string, number>>;
  constants: Readonly<Record<string, number>>;
  /** The offsets of the fields that the policy looks into, and the size, by struct. */
  structs: Readonly<Record<string, Readonly<{ SIZE: number; [field: string]: number }>>>;
}

export const NOTED_SOURCES: readonly NotedSource[] = [
  {
    name: 'netmap',
    class: 'netmap',
    header: 'net/netmap.h, net/netmap_legacy.h (API 14, of luigirizzo/netmap)',
    commands: {
      NIOCGINFO: 0xc03c6991,
      NIOCREGIF: 0xc03c6992,
      NIOCTXSYNC: 0x6994,
      NIOCRXSYNC: 0x6995,
      NIOCCONFIG: 0xc1106996,
      NIOCCTRL: 0xc0586997,
    },
    constants: {
      NETMAP_API: 14,
      // NM_BDG_NAME, the first letters of the ports of a VALE switch, as a word.
      NM_BDG_NAME: 0x656c6176,
      NETMAP_BDG_VNET_HDR: 5,
      NETMAP_VNET_HDR_GET: 12,
      NETMAP_REQ_REGISTER: 1,
      NETMAP_REQ_PORT_INFO_GET: 2,
      NETMAP_REQ_PORT_HDR_SET: 6,
      NETMAP_REQ_PORT_HDR_GET: 7,
      NETMAP_REQ_POOLS_INFO_GET: 12,
      NETMAP_REQ_SYNC_KLOOP_START: 13,
      NETMAP_REQ_SYNC_KLOOP_STOP: 14,
      NETMAP_REQ_CSB_ENABLE: 15,
    },
    structs: {
      nmreq_header: { SIZE: 88, nr_version: 0, nr_reqtype: 2, nr_name: 8, nr_options: 72, nr_body: 80 },
      nmreq_register: { SIZE: 56 },
      nmreq_port_info_get: { SIZE: 32 },
      nmreq_port_hdr: { SIZE: 8 },
      nmreq_pools_info: { SIZE: 64 },
      nmreq: { SIZE: 60, nr_name: 0, nr_version: 16, nr_cmd: 42 },
    },
  },
];
