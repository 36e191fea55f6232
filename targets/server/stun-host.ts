/**
 * STUN for a server: a UDP socket around the StunResponder of lib/stun.
 */
import { createSocket, type Socket } from 'node:dgram';
import { NetError } from '../../lib/base/errors.ts';
import type { Clock } from '../../lib/ports.ts';
import { StunResponder } from '../../lib/stun/responder.ts';

/** Room for an answer. */
const ANSWER_BYTES = 64;
/** Answers that wait for the system, at most; more are dropped, as the network would. */
const MAX_WAITING = 1024;

/** A STUN server that runs. */
export interface StunHost {
  readonly port: number;
  /** Datagrams so far. */
  readonly counters: Pick<StunResponder, 'answered' | 'rateLimited' | 'malformed'>;
  close(): Promise<void>;
}

/** Answers on `host:port`; port 0 is any free one. Rejects with NetError. */
export async function openStun(
  options: { readonly clock: Clock; readonly random: (out: Uint8Array) => void },
  host: string,
  port: number,
): Promise<StunHost> {
  const responder = new StunResponder({ random: options.random });
  const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4' });
  let waiting = 0;
  socket.on('message', (message, { address, port: from }) => {
    if (waiting >= MAX_WAITING) return;
    const answer = new Uint8Array(ANSWER_BYTES);
    const source = { address: address.replace(/%.*$/, ''), port: from };
    const nowMs = options.clock.nowMs();
    const length = responder.answer(nowMs, message, 0, message.length, source, answer, 0);
    if (length === 0) return;
    waiting++;
    socket.send(answer, 0, length, from, address, () => {
      waiting--;
    });
  });
  await bind(socket, host, port);
  socket.on('error', () => undefined); // one datagram that could not be sent
  return {
    port: socket.address().port,
    counters: responder,
    close: () => new Promise(resolve => socket.close(() => resolve())),
  };
}

function bind(socket: Socket, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', cause => {
      const isTaken = (cause as { code?: string }).code === 'EADDRINUSE';
      const code = isTaken ? 'ERR_ADDRESS_IN_USE' : 'ERR_ADDRESS_UNAVAILABLE';
      const text = `cannot answer STUN on UDP ${host}:${port}${isTaken ? ': the port is taken; choose another' : `: ${cause.message}`}`;
      socket.close();
      reject(new NetError(code, text, { cause }));
    });
    socket.bind(port, host, () => {
      socket.removeAllListeners('error');
      resolve();
    });
  });
}
