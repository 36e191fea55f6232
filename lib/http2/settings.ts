/**
 * Settings of both sides (RFC 9113 §6.5): what the client announces, and the server's as they stream.
 */
import { writeU16BE, writeU32BE } from '../base/bytes.ts';
import {
  DEFAULT_FRAME_BYTES,
  DEFAULT_TABLE_BYTES,
  DEFAULT_WINDOW_BYTES,
  FLOW_CONTROL_ERROR,
  MAX_31_BITS,
  MAX_FRAME_BYTES,
  PROTOCOL_ERROR,
  SETTINGS_ENABLE_PUSH,
  SETTINGS_HEADER_TABLE_SIZE,
  SETTINGS_INITIAL_WINDOW_SIZE,
  SETTINGS_MAX_CONCURRENT_STREAMS,
  SETTINGS_MAX_FRAME_SIZE,
  SETTINGS_MAX_HEADER_LIST_SIZE,
} from './frame.ts';
import type { Http2Limits } from './limits.ts';
import type { Session } from './session.ts';

/** An id in two bytes and a value in four. */
export const SETTING_BYTES = 6;

/** The payload of the client's SETTINGS: what differs from the defaults, and no push. */
export function settingsPayload(limits: Http2Limits): Uint8Array {
  const settings: [id: number, value: number][] = [[SETTINGS_ENABLE_PUSH, 0]];
  if (limits.headerTableBytes !== DEFAULT_TABLE_BYTES)
    settings.push([SETTINGS_HEADER_TABLE_SIZE, limits.headerTableBytes]);
  if (limits.initialStreamWindowBytes !== DEFAULT_WINDOW_BYTES)
    settings.push([SETTINGS_INITIAL_WINDOW_SIZE, limits.initialStreamWindowBytes]);
  settings.push([SETTINGS_MAX_HEADER_LIST_SIZE, limits.headerListBytes]);
  const out = new Uint8Array(settings.length * SETTING_BYTES);
  settings.forEach(([id, value], index) => {
    writeU16BE(out, index * SETTING_BYTES, id);
    writeU32BE(out, index * SETTING_BYTES + 2, value);
  });
  return out;
}

/** One of the server's settings (RFC 9113 §6.5.2). The last one of a frame must be followed by {@link applyWindow}. */
export function applySetting(session: Session, id: number, value: number): void {
  switch (id) {
    case SETTINGS_HEADER_TABLE_SIZE:
      session.owesTableUpdate = true;
      return;
    case SETTINGS_ENABLE_PUSH:
      if (value !== 0) session.breakOff(PROTOCOL_ERROR, 'a server that would be pushed to'); // CHECK: http2-setting-push
      return;
    case SETTINGS_MAX_CONCURRENT_STREAMS:
      session.peerStreams = value;
      return;
    case SETTINGS_INITIAL_WINDOW_SIZE:
      if (value > MAX_31_BITS) return session.breakOff(FLOW_CONTROL_ERROR, 'a window of 2 GB'); // CHECK: http2-setting-window
      session.nextInitialWindow = value;
      return;
    case SETTINGS_MAX_FRAME_SIZE: {
      const isOutside = value < DEFAULT_FRAME_BYTES || value > MAX_FRAME_BYTES;
      if (isOutside) return session.breakOff(PROTOCOL_ERROR, 'a frame size that is none'); // CHECK: http2-setting-frame-size
      session.peerFrameBytes = value;
      return;
    }
    default: // unknown ones are ignored, and MAX_HEADER_LIST_SIZE is advice: the server answers what it does not like
  }
}

/** The frame is complete: its window size holds for open streams too, and may make their windows negative (§6.9.2). */
export function applyWindow(session: Session): void {
  if (session.error !== undefined) return;
  const change = session.nextInitialWindow - session.peerInitialWindow;
  session.peerInitialWindow = session.nextInitialWindow;
  if (change === 0) return;
  for (const stream of session.streams) {
    if (stream.isUnsent || stream.isDropped) continue;
    stream.sendWindow += change;
    const isTooMuch = stream.sendWindow > MAX_31_BITS;
    if (isTooMuch) return session.breakOff(FLOW_CONTROL_ERROR, 'a window of 2 GB'); // CHECK: http2-setting-window-change
  }
}
