/**
 * The two ways in which a relay's bytes travel: a raw socket behind an upgrade, and a WebSocket. Both take bytes until
 * they are full and say when they take more.
 */
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';

/** What a WebSocket may hold before it counts as full. */
const WEBSOCKET_FULL_BYTES = 65_536;

/** Where a pipe delivers. */
export interface PipeSink {
  /** Bytes, lent until the call returns. */
  bytes(chunk: Uint8Array): void;
  /** The pipe takes bytes again. */
  writable(): void;
  /** The other side has ended, or the connection is gone. The last call. */
  ended(): void;
}

/** One connection of a relay's client. */
export interface Pipe {
  /** Whether it takes no bytes now. */
  readonly isFull: boolean;
  /** Takes bytes, which belong to the pipe from now on. */
  write(bytes: Uint8Array): void;
  /** No bytes until `resume`: the other side is slowed down. */
  pause(): void;
  resume(): void;
  /** Ends the connection; no sink call follows. */
  close(): void;
}

/** A raw socket as a pipe; `head` are bytes that came behind the request. */
export function socketPipe(socket: Duplex, head: Uint8Array, sink: PipeSink): Pipe {
  let isOpen = true;
  const end = () => {
    if (!isOpen) return;
    isOpen = false;
    socket.destroy();
    sink.ended();
  };
  if (head.length > 0) socket.unshift(head);
  socket.on('data', (chunk: Uint8Array) => {
    if (isOpen) sink.bytes(chunk);
  });
  socket.on('drain', () => {
    if (isOpen) sink.writable();
  });
  for (const event of ['end', 'error', 'close']) socket.on(event, end);
  return {
    get isFull() {
      return socket.writableNeedDrain;
    },
    write: bytes => void socket.write(bytes),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    close: () => {
      isOpen = false;
      socket.destroy();
    },
  };
}

/** A WebSocket as a pipe. Borders of messages mean nothing; a text message ends it. */
export function webSocketPipe(socket: WebSocket, sink: PipeSink): Pipe {
  let isOpen = true;
  const end = () => {
    if (!isOpen) return;
    isOpen = false;
    socket.terminate();
    sink.ended();
  };
  socket.binaryType = 'nodebuffer';
  socket.on('message', (data, isBinary) => {
    if (!isBinary) return end();
    if (isOpen) sink.bytes(data as Buffer);
  });
  for (const event of ['close', 'error']) socket.on(event, end);
  const written = () => {
    if (isOpen && socket.bufferedAmount < WEBSOCKET_FULL_BYTES) sink.writable();
  };
  return {
    get isFull() {
      return socket.bufferedAmount >= WEBSOCKET_FULL_BYTES;
    },
    write: bytes => socket.send(bytes, { binary: true }, written),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    close: () => {
      isOpen = false;
      socket.terminate();
    },
  };
}
