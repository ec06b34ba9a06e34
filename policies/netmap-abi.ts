// Facts of the netmap API, version 14, from luigirizzo/netmap: sys/net/netmap.h and netmap_legacy.h, which no Debian package installs.
export const NETMAP_API: u32 = 14;
export const NIOCGINFO: u32 = 0xc03c6991;
export const NIOCREGIF: u32 = 0xc03c6992;
export const NIOCTXSYNC: u32 = 0x6994;
export const NIOCRXSYNC: u32 = 0x6995;
export const NIOCCONFIG: u32 = 0xc1106996;
export const NIOCCTRL: u32 = 0xc0586997;
/** NM_BDG_NAME, the first letters of the ports of a VALE switch, as a word. */
export const VALE: u32 = 0x656c6176;
/** Request bodies: the size by nr_reqtype, from NETMAP_REQ_REGISTER (1) to NETMAP_REQ_POOLS_INFO_GET (12); 0: not offered. */
export const BODY_BYTES: StaticArray<u8> = [0, 56, 32, 0, 0, 0, 8, 8, 0, 0, 0, 0, 64];
export const NETMAP_REQ_REGISTER: u32 = 1;
export const NETMAP_REQ_SYNC_KLOOP_START: u32 = 13;
export const NETMAP_REQ_CSB_ENABLE: u32 = 15;
export const NETMAP_BDG_VNET_HDR: u32 = 5;
export const NETMAP_VNET_HDR_GET: u32 = 12;
export namespace nmreq_header {
  export const nr_version: u32 = 0;
  export const nr_reqtype: u32 = 2;
  export const nr_name: u32 = 8;
  export const nr_options: u32 = 72;
  export const nr_body: u32 = 80;
}
export namespace nmreq {
  export const nr_name: u32 = 0;
  export const nr_version: u32 = 16;
  export const nr_cmd: u32 = 42;
}
