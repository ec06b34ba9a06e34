/**
 * Sound cards: PCM streams, raw MIDI, controls, timers and hardware-dependent devices (sound/asound.h; what is a pointer, and which of the
 * _IOR commands read their argument too, is in sound/core/{pcm_native,rawmidi,control,control_compat,timer,hwdep}.c).
 */
import * as a from './__generated__/asound';
import { EACCES, EBADF, EBADFD, EINVAL, ENOMEM, EPERM, POLLERR } from './__generated__/kernel';
import { POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM, PROT_WRITE } from './__generated__/kernel';
import { after, ALL_ACCESS, BLOCKING, BOTH_WAYS, call, deny, device, grant, nestedBytes, HEAD } from './sdk';
import { hooks, nested, NESTED, nestedRead, NO_ACCESS, Operation, plain, reason } from './sdk';
import { refuse, row, TO_DRIVER, u32At, u64At } from './sdk';

export { admit, cabi_realloc, complete, describe } from './sdk';

device('alsa');

const FIRMWARE = reason('firmware is loaded by the owner of the driver domain');
const DESCRIPTOR = reason('descriptors do not cross between the domains: streams are not linked');
const USER_CONTROLS = reason('a control made by a guest would appear to every guest');
const EVERYONES = reason('the setting would change it for every guest');
const SLAVE = reason('a slave timer could follow the timer of another guest');
const UNCONFIGURED = reason('the stream has no hardware parameters, so that a frame has no size');
const TOO_LONG = reason('more bytes than one operation may carry');
const NOWHERE = reason('nothing is mapped at that offset');
const READ_ONLY = reason('only the driver writes the status page');
const HWDEP_DATA = reason('hardware-dependent devices are asked, but not read, written or mapped');

/** Indices in the manifest's nodes. */
const CONTROL: u32 = 0;
const PCM: u32 = 1;
const HWDEP: u32 = 3;
const MIDI: u32 = 4;
/** speaker-test writes 512 KiB at once; a backend process's arena has room for 768 KiB. */
const TRANSFER_BYTES_MAX: u32 = 640 * 1024;
/** As SDK's and envelope's limit: the data, and a pointer a channel. */
const GRANT_BYTES_MAX: u32 = TRANSFER_BYTES_MAX + 64 * 8;
/** Controls in one list; the largest cards have some hundreds. */
const CONTROLS_MAX: u32 = 2048;
/** alsa-lib's tools ask for 4096 bytes. */
const TLV_BYTES_MAX: u32 = 8192;
/** With the array of pointers, the SDK's and the envelope's number of regions. */
const CHANNELS_MAX: u32 = 63;
const TRANSFER: u32 = BLOCKING | NESTED;

/** Session state of a stream: the bits of a frame, and the channels. */
const BITS_MASK: u64 = 0xffffffff;
const CHANNELS_SHIFT: u64 = 32;
/** Session state of a control: it has subscribed to events. */
const SUBSCRIBED: u64 = 1;

nestedBytes(GRANT_BYTES_MAX);

row('SNDRV_HWDEP_IOCTL_PVERSION', a.SNDRV_HWDEP_IOCTL_PVERSION);
row('SNDRV_HWDEP_IOCTL_INFO', a.SNDRV_HWDEP_IOCTL_INFO);
row('SNDRV_HWDEP_IOCTL_DSP_STATUS', a.SNDRV_HWDEP_IOCTL_DSP_STATUS);
refuse('SNDRV_HWDEP_IOCTL_DSP_LOAD', a.SNDRV_HWDEP_IOCTL_DSP_LOAD, EPERM, FIRMWARE);
row('SNDRV_PCM_IOCTL_PVERSION', a.SNDRV_PCM_IOCTL_PVERSION);
row('SNDRV_PCM_IOCTL_INFO', a.SNDRV_PCM_IOCTL_INFO);
row('SNDRV_PCM_IOCTL_TSTAMP', a.SNDRV_PCM_IOCTL_TSTAMP);
row('SNDRV_PCM_IOCTL_TTSTAMP', a.SNDRV_PCM_IOCTL_TTSTAMP);
row('SNDRV_PCM_IOCTL_USER_PVERSION', a.SNDRV_PCM_IOCTL_USER_PVERSION);
row('SNDRV_PCM_IOCTL_HW_REFINE', a.SNDRV_PCM_IOCTL_HW_REFINE);
row('SNDRV_PCM_IOCTL_HW_PARAMS', a.SNDRV_PCM_IOCTL_HW_PARAMS);
row('SNDRV_PCM_IOCTL_HW_FREE', a.SNDRV_PCM_IOCTL_HW_FREE);
row('SNDRV_PCM_IOCTL_SW_PARAMS', a.SNDRV_PCM_IOCTL_SW_PARAMS);
row('SNDRV_PCM_IOCTL_STATUS', a.SNDRV_PCM_IOCTL_STATUS);
row('SNDRV_PCM_IOCTL_DELAY', a.SNDRV_PCM_IOCTL_DELAY);
row('SNDRV_PCM_IOCTL_HWSYNC', a.SNDRV_PCM_IOCTL_HWSYNC);
row('SNDRV_PCM_IOCTL_SYNC_PTR', a.SNDRV_PCM_IOCTL_SYNC_PTR);
row('SNDRV_PCM_IOCTL_STATUS_EXT', a.SNDRV_PCM_IOCTL_STATUS_EXT);
both('SNDRV_PCM_IOCTL_CHANNEL_INFO', a.SNDRV_PCM_IOCTL_CHANNEL_INFO);
row('SNDRV_PCM_IOCTL_PREPARE', a.SNDRV_PCM_IOCTL_PREPARE);
row('SNDRV_PCM_IOCTL_RESET', a.SNDRV_PCM_IOCTL_RESET);
row('SNDRV_PCM_IOCTL_START', a.SNDRV_PCM_IOCTL_START);
row('SNDRV_PCM_IOCTL_DROP', a.SNDRV_PCM_IOCTL_DROP);
row('SNDRV_PCM_IOCTL_DRAIN', a.SNDRV_PCM_IOCTL_DRAIN, BLOCKING);
plain('SNDRV_PCM_IOCTL_PAUSE', a.SNDRV_PCM_IOCTL_PAUSE, 0, NO_ACCESS);
always('SNDRV_PCM_IOCTL_REWIND', a.SNDRV_PCM_IOCTL_REWIND);
row('SNDRV_PCM_IOCTL_RESUME', a.SNDRV_PCM_IOCTL_RESUME);
row('SNDRV_PCM_IOCTL_XRUN', a.SNDRV_PCM_IOCTL_XRUN);
always('SNDRV_PCM_IOCTL_FORWARD', a.SNDRV_PCM_IOCTL_FORWARD);
always('SNDRV_PCM_IOCTL_WRITEI_FRAMES', a.SNDRV_PCM_IOCTL_WRITEI_FRAMES, TRANSFER, frames);
always('SNDRV_PCM_IOCTL_READI_FRAMES', a.SNDRV_PCM_IOCTL_READI_FRAMES, TRANSFER, frames);
always('SNDRV_PCM_IOCTL_WRITEN_FRAMES', a.SNDRV_PCM_IOCTL_WRITEN_FRAMES, TRANSFER, channels);
always('SNDRV_PCM_IOCTL_READN_FRAMES', a.SNDRV_PCM_IOCTL_READN_FRAMES, TRANSFER, channels);
refuse('SNDRV_PCM_IOCTL_LINK', a.SNDRV_PCM_IOCTL_LINK, EBADF, DESCRIPTOR);
row('SNDRV_PCM_IOCTL_UNLINK', a.SNDRV_PCM_IOCTL_UNLINK);
row('SNDRV_RAWMIDI_IOCTL_PVERSION', a.SNDRV_RAWMIDI_IOCTL_PVERSION);
both('SNDRV_RAWMIDI_IOCTL_INFO', a.SNDRV_RAWMIDI_IOCTL_INFO);
row('SNDRV_RAWMIDI_IOCTL_USER_PVERSION', a.SNDRV_RAWMIDI_IOCTL_USER_PVERSION);
row('SNDRV_RAWMIDI_IOCTL_PARAMS', a.SNDRV_RAWMIDI_IOCTL_PARAMS);
row('SNDRV_RAWMIDI_IOCTL_STATUS', a.SNDRV_RAWMIDI_IOCTL_STATUS);
row('SNDRV_RAWMIDI_IOCTL_DROP', a.SNDRV_RAWMIDI_IOCTL_DROP);
row('SNDRV_RAWMIDI_IOCTL_DRAIN', a.SNDRV_RAWMIDI_IOCTL_DRAIN, BLOCKING);
row('SNDRV_TIMER_IOCTL_PVERSION', a.SNDRV_TIMER_IOCTL_PVERSION);
row('SNDRV_TIMER_IOCTL_NEXT_DEVICE', a.SNDRV_TIMER_IOCTL_NEXT_DEVICE);
row('SNDRV_TIMER_IOCTL_TREAD_OLD', a.SNDRV_TIMER_IOCTL_TREAD_OLD);
row('SNDRV_TIMER_IOCTL_GINFO', a.SNDRV_TIMER_IOCTL_GINFO);
refuse('SNDRV_TIMER_IOCTL_GPARAMS', a.SNDRV_TIMER_IOCTL_GPARAMS, EPERM, EVERYONES);
row('SNDRV_TIMER_IOCTL_GSTATUS', a.SNDRV_TIMER_IOCTL_GSTATUS);
row('SNDRV_TIMER_IOCTL_SELECT', a.SNDRV_TIMER_IOCTL_SELECT, 0, select);
row('SNDRV_TIMER_IOCTL_INFO', a.SNDRV_TIMER_IOCTL_INFO);
row('SNDRV_TIMER_IOCTL_PARAMS', a.SNDRV_TIMER_IOCTL_PARAMS);
row('SNDRV_TIMER_IOCTL_STATUS', a.SNDRV_TIMER_IOCTL_STATUS);
row('SNDRV_TIMER_IOCTL_START', a.SNDRV_TIMER_IOCTL_START);
row('SNDRV_TIMER_IOCTL_STOP', a.SNDRV_TIMER_IOCTL_STOP);
row('SNDRV_TIMER_IOCTL_CONTINUE', a.SNDRV_TIMER_IOCTL_CONTINUE);
row('SNDRV_TIMER_IOCTL_PAUSE', a.SNDRV_TIMER_IOCTL_PAUSE);
row('SNDRV_TIMER_IOCTL_TREAD64', a.SNDRV_TIMER_IOCTL_TREAD64);
row('SNDRV_CTL_IOCTL_PVERSION', a.SNDRV_CTL_IOCTL_PVERSION);
row('SNDRV_CTL_IOCTL_CARD_INFO', a.SNDRV_CTL_IOCTL_CARD_INFO);
row('SNDRV_CTL_IOCTL_ELEM_LIST', a.SNDRV_CTL_IOCTL_ELEM_LIST, NESTED, list);
row('SNDRV_CTL_IOCTL_ELEM_INFO', a.SNDRV_CTL_IOCTL_ELEM_INFO);
row('SNDRV_CTL_IOCTL_ELEM_READ', a.SNDRV_CTL_IOCTL_ELEM_READ);
row('SNDRV_CTL_IOCTL_ELEM_WRITE', a.SNDRV_CTL_IOCTL_ELEM_WRITE);
row('SNDRV_CTL_IOCTL_ELEM_LOCK', a.SNDRV_CTL_IOCTL_ELEM_LOCK);
row('SNDRV_CTL_IOCTL_ELEM_UNLOCK', a.SNDRV_CTL_IOCTL_ELEM_UNLOCK);
row('SNDRV_CTL_IOCTL_SUBSCRIBE_EVENTS', a.SNDRV_CTL_IOCTL_SUBSCRIBE_EVENTS);
refuse('SNDRV_CTL_IOCTL_ELEM_ADD', a.SNDRV_CTL_IOCTL_ELEM_ADD, EPERM, USER_CONTROLS);
refuse('SNDRV_CTL_IOCTL_ELEM_REPLACE', a.SNDRV_CTL_IOCTL_ELEM_REPLACE, EPERM, USER_CONTROLS);
refuse('SNDRV_CTL_IOCTL_ELEM_REMOVE', a.SNDRV_CTL_IOCTL_ELEM_REMOVE, EPERM, USER_CONTROLS);
row('SNDRV_CTL_IOCTL_TLV_READ', a.SNDRV_CTL_IOCTL_TLV_READ, NESTED, lengthValue);
row('SNDRV_CTL_IOCTL_TLV_WRITE', a.SNDRV_CTL_IOCTL_TLV_WRITE, NESTED, lengthValue);
row('SNDRV_CTL_IOCTL_TLV_COMMAND', a.SNDRV_CTL_IOCTL_TLV_COMMAND, NESTED, lengthValue);
row('SNDRV_CTL_IOCTL_HWDEP_NEXT_DEVICE', a.SNDRV_CTL_IOCTL_HWDEP_NEXT_DEVICE);
both('SNDRV_CTL_IOCTL_HWDEP_INFO', a.SNDRV_CTL_IOCTL_HWDEP_INFO);
both('SNDRV_CTL_IOCTL_PCM_NEXT_DEVICE', a.SNDRV_CTL_IOCTL_PCM_NEXT_DEVICE);
row('SNDRV_CTL_IOCTL_PCM_INFO', a.SNDRV_CTL_IOCTL_PCM_INFO);
row('SNDRV_CTL_IOCTL_PCM_PREFER_SUBDEVICE', a.SNDRV_CTL_IOCTL_PCM_PREFER_SUBDEVICE);
row('SNDRV_CTL_IOCTL_RAWMIDI_NEXT_DEVICE', a.SNDRV_CTL_IOCTL_RAWMIDI_NEXT_DEVICE);
row('SNDRV_CTL_IOCTL_RAWMIDI_INFO', a.SNDRV_CTL_IOCTL_RAWMIDI_INFO);
row('SNDRV_CTL_IOCTL_RAWMIDI_PREFER_SUBDEVICE', a.SNDRV_CTL_IOCTL_RAWMIDI_PREFER_SUBDEVICE);
refuse('SNDRV_CTL_IOCTL_POWER', a.SNDRV_CTL_IOCTL_POWER, EPERM, EVERYONES);
row('SNDRV_CTL_IOCTL_POWER_STATE', a.SNDRV_CTL_IOCTL_POWER_STATE);

hooks.read = transfer;
hooks.write = transfer;
hooks.mmap = map;
hooks.settle = settle;

function transfer(): void {
  if (call.node == HWDEP) deny(EINVAL, HWDEP_DATA);
}

/** A command that reads its argument too, whatever its number says. */
function both(name: string, number: u32): void {
  plain(name, number, (number >> 16) & 0x3fff, BOTH_WAYS);
}

/** A command whose result is in its argument, also when it fails. */
function always(name: string, number: u32, options: u32 = 0, handler: (() => void) | null = null): void {
  plain(name, number, (number >> 16) & 0x3fff, ALL_ACCESS, options, handler);
}

/** Data from its start, and the pages of status and control by either of their offsets. */
function map(): void {
  if (call.node != PCM) return deny(EINVAL, NOWHERE);
  switch (call.offset) {
    case a.SNDRV_PCM_MMAP_OFFSET_STATUS_OLD:
    case a.SNDRV_PCM_MMAP_OFFSET_STATUS_NEW:
      if (call.command & PROT_WRITE) deny(EACCES, READ_ONLY);
      return;
    case a.SNDRV_PCM_MMAP_OFFSET_DATA:
    case a.SNDRV_PCM_MMAP_OFFSET_CONTROL_OLD:
    case a.SNDRV_PCM_MMAP_OFFSET_CONTROL_NEW:
      return;
  }
  deny(EINVAL, NOWHERE);
}

/** The bytes of `count` frames of `bits` bits, or a denial. */
function bytesFor(count: u64, bits: u64): u32 {
  if (bits == 0) deny(EBADFD, UNCONFIGURED);
  else if (count > 8 * TRANSFER_BYTES_MAX || (count * bits) / 8 > TRANSFER_BYTES_MAX)
    deny(ENOMEM, TOO_LONG, a.snd_xferi.frames);
  else return <u32>((count * bits) / 8);
  return 0;
}

/** Without a buffer, playback is silence. What the driver leaves alone of a buffer stays: a capture's own bytes go in first. */
function frames(): void {
  const bytes = bytesFor(u64At(HEAD, a.snd_xferi.frames), call.state & BITS_MASK);
  const access: u8 = call.command == a.SNDRV_PCM_IOCTL_WRITEI_FRAMES ? TO_DRIVER : BOTH_WAYS;
  if (bytes != 0 && u64At(HEAD, a.snd_xferi.buf) != 0) nested(HEAD, a.snd_xferi.buf, bytes, access);
}

/** A buffer a channel; a channel without one is silent. */
function channels(): void {
  const count = <u32>(call.state >> CHANNELS_SHIFT);
  if (count > CHANNELS_MAX) return deny(ENOMEM, TOO_LONG);
  const bits = count == 0 ? 0 : (call.state & BITS_MASK) / count;
  const bytes = bytesFor(u64At(HEAD, a.snd_xfern.frames), bits);
  const access: u8 = call.command == a.SNDRV_PCM_IOCTL_WRITEN_FRAMES ? TO_DRIVER : BOTH_WAYS;
  const buffers = bytes == 0 ? 0 : nestedRead(HEAD, a.snd_xfern.bufs, count * 8, TO_DRIVER);
  for (let at: u32 = 0; buffers != 0 && at < count * 8; at += 8) {
    if (u64At(buffers, at) != 0) nested(buffers, at, bytes, access);
  }
}

function list(): void {
  const space = u32At(HEAD, a.snd_ctl_elem_list.space);
  if (space > CONTROLS_MAX) return deny(ENOMEM, TOO_LONG, a.snd_ctl_elem_list.space);
  if (space != 0) nested(HEAD, a.snd_ctl_elem_list.pids, space * a.snd_ctl_elem_id.SIZE, BOTH_WAYS);
}

/** The values follow the head; a grant that begins where the head ends is part of it. */
function lengthValue(): void {
  const length = u32At(HEAD, a.snd_ctl_tlv.length);
  if (length > TLV_BYTES_MAX) return deny(ENOMEM, TOO_LONG, a.snd_ctl_tlv.length);
  if (length != 0) grant(call.argument + a.snd_ctl_tlv.SIZE, length, BOTH_WAYS);
}

function select(): void {
  const offset = a.snd_timer_select.id_dev_class;
  if (u32At(HEAD, offset) == a.SNDRV_TIMER_CLASS_SLAVE) deny(EINVAL, SLAVE, offset);
}

function settle(): void {
  if (call.operation == Operation.Ioctl && call.outcome >= 0) settleCommand();
  // A control that has not subscribed has no queue to wait in: it would be asked once, and never again.
  if (call.node != CONTROL || after.state & SUBSCRIBED) after.watch = POLLIN | POLLRDNORM;
  if (call.node == PCM || call.node == MIDI) after.watch |= POLLOUT | POLLWRNORM | POLLERR;
}

function settleCommand(): void {
  switch (call.command) {
    case a.SNDRV_CTL_IOCTL_SUBSCRIBE_EVENTS:
      after.state = u32At(HEAD, 0) != 0 ? SUBSCRIBED : 0;
      return;
    case a.SNDRV_PCM_IOCTL_HW_FREE:
      after.state = 0;
      return;
    case a.SNDRV_PCM_IOCTL_HW_PARAMS:
      after.state = ((<u64>u32At(HEAD, a.CHANNELS)) << CHANNELS_SHIFT) | u32At(HEAD, a.FRAME_BITS);
  }
}
