/**
 * The sending half: request heads within the server's number of streams, bodies within its windows and frame size, each
 * stream in turn (RFC 9113 §5.1.2, §5.2, §6.1, §6.2).
 */
import { copyBytes, NO_BYTES } from '../base/bytes.ts';
import {
  DEFAULT_FRAME_BYTES,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FRAME_CONTINUATION,
  FRAME_DATA,
  FRAME_HEADER_BYTES,
  FRAME_HEADERS,
  writeFrameHeader,
} from './frame.ts';
import { NO_TABLE_UPDATE } from './hpack-encoder.ts';
import type { Session } from './session.ts';
import type { Stream, Upload } from './stream.ts';

/** Moves what may be sent into the session's buffer, until that is full. */
export function fillBuffer(session: Session): void {
  if (session.error !== undefined) return;
  const { limits, sending } = session;
  const mostStreams = Math.min(limits.streams, session.peerStreams);
  while (session.openCount < mostStreams && session.out.length < limits.sendBufferBytes) {
    const stream = session.nextUnsent();
    if (stream?.upload === undefined) break;
    sendHead(session, stream, stream.upload);
  }
  // A round without any progress ends it: every stream waits for a window, or the buffer is full.
  for (let idle = 0; idle < sending.length; ) {
    const stream = sending.shift()!;
    const taken = sendBody(session, stream);
    if ((stream.upload?.body.length ?? 0) > 0) sending.push(stream);
    idle = taken > 0 ? 0 : idle + 1;
  }
}

function sendHead(session: Session, stream: Stream, upload: Upload): void {
  const update = session.owesTableUpdate ? 1 : 0;
  const head = upload.head!;
  const block = new Uint8Array(update + head.length);
  block[0] = NO_TABLE_UPDATE;
  block.set(head, update);
  session.owesTableUpdate = false;
  upload.head = undefined;
  session.lastSentId = stream.id;
  session.openCount++;
  stream.sendWindow = session.peerInitialWindow;
  const isWhole = upload.endsAfterBody && upload.body.length === 0;
  const most = Math.min(session.peerFrameBytes, DEFAULT_FRAME_BYTES);
  for (let at = 0; at < block.length; at += most) {
    const end = Math.min(block.length, at + most);
    const endFlag = isWhole && at === 0 ? FLAG_END_STREAM : 0;
    const flags = (end === block.length ? FLAG_END_HEADERS : 0) | endFlag;
    put(session, at === 0 ? FRAME_HEADERS : FRAME_CONTINUATION, flags, stream.id, block, at, end);
  }
  if (isWhole) session.closeLocal(stream);
  else if (upload.body.length > 0) session.sending.push(stream);
  upload.stalledSinceMs = upload.body.length > 0 || upload.wantsToWrite ? session.nowMs : Infinity;
}

/** One frame of the body that came with the request; returns how many bytes. */
function sendBody(session: Session, stream: Stream): number {
  const { upload } = stream;
  if (upload === undefined) return 0;
  const { body } = upload;
  const taken = sendPiece(session, stream, upload, body, 0, body.length, upload.endsAfterBody);
  upload.body = taken < body.length ? body.subarray(taken) : NO_BYTES;
  if (taken === body.length && !upload.wantsToWrite) upload.stalledSinceMs = Infinity;
  return taken;
}

/**
 * Sends one DATA frame of `buf[start, end)`, as long as windows and buffer allow; with END_STREAM if that was all and
 * `isLast`. Returns how many bytes. An empty last frame needs no window.
 */
export function sendPiece(
  session: Session,
  stream: Stream,
  upload: Upload,
  buf: Uint8Array,
  start: number,
  end: number,
  isLast: boolean,
): number {
  const room = session.limits.sendBufferBytes - session.out.length - FRAME_HEADER_BYTES;
  const windows = Math.min(stream.sendWindow, session.sendWindow);
  const most = Math.min(session.peerFrameBytes, DEFAULT_FRAME_BYTES, room);
  const taken = Math.max(0, Math.min(end - start, windows, most));
  const isAll = start + taken === end;
  if (taken === 0 && !(isAll && isLast)) return 0;
  put(session, FRAME_DATA, isAll && isLast ? FLAG_END_STREAM : 0, stream.id, buf, start, start + taken);
  stream.sendWindow -= taken;
  session.sendWindow -= taken;
  upload.stalledSinceMs = session.nowMs;
  if (isAll && isLast) session.closeLocal(stream);
  return taken;
}

function put(session: Session, type: number, flags: number, id: number, buf: Uint8Array, start: number, end: number) {
  const at = session.out.reserve(FRAME_HEADER_BYTES + end - start);
  const payload = writeFrameHeader(session.out.buf, at, type, flags, id, end - start);
  copyBytes(session.out.buf, payload, buf, start, end);
}

/** Tells callers that had too much to write that there is room again: half of the buffer, and both windows. */
export function wakeWriters(session: Session): void {
  if (session.error !== undefined || session.sendWindow <= 0) return;
  if (session.out.length > session.limits.sendBufferBytes / 2) return;
  for (const stream of session.streams) {
    const { upload } = stream;
    if (upload === undefined || !upload.wantsToWrite || upload.head !== undefined) continue;
    if (stream.sendWindow <= 0 || upload.body.length > 0) continue;
    upload.wantsToWrite = false;
    upload.isWritable = true;
    upload.stalledSinceMs = Infinity;
    session.wake(stream);
  }
}
