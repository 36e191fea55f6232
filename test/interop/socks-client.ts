/**
 * A SOCKS5 client, so that programs reach a tailnet through `tailscaled --socks5-server`: TCP by name or address, and UDP.
 *
 * RFC 1928: CONNECT (§4, §6) and UDP ASSOCIATE (§7). Left out: authentication, fragments, BIND.
 */
import { createSocket } from 'node:dgram';
import { connect, isIP, type Socket } from 'node:net';
import { KernelFlow, Queue } from './kernel-face.ts';
import type { UdpFace } from './peer-program.ts';

/** Where the proxy listens. */
export interface SocksServer {
  readonly host: string;
  readonly port: number;
}

const CONNECT = 1;
const UDP_ASSOCIATE = 3;
const REPLIES = Object.freeze([
  'succeeded',
  'general failure',
  'not allowed',
  'network unreachable',
  'host unreachable',
  'connection refused',
  'TTL expired',
  'command not supported',
  'address type not supported',
]);

/** Connects through the proxy; a name is resolved by it. Rejects with the proxy's reason. */
export async function socksDial(
  proxy: SocksServer,
  host: string,
  port: number,
  timeoutMs: number,
): Promise<KernelFlow> {
  const { socket } = await request(proxy, CONNECT, host, port, timeoutMs);
  return new KernelFlow(socket);
}

/** A UDP socket whose datagrams the proxy carries; it answers from the port that it says. */
export async function socksUdp(proxy: SocksServer): Promise<UdpFace> {
  const { socket: control, bound } = await request(proxy, UDP_ASSOCIATE, '0.0.0.0', 0, 10_000);
  const received = new Queue<{ data: Uint8Array; from: { address: string; port: number } }>();
  const socket = createSocket('udp4');
  socket.on('message', message => {
    const { end, host, port } = readAddress(message, 3);
    received.push({ data: message.subarray(end), from: { address: host, port } });
  });
  await new Promise<void>(resolve => socket.bind(0, '127.0.0.1', resolve));
  return {
    port: socket.address().port,
    send: (data, to) => {
      socket.send(Buffer.concat([Buffer.from([0, 0, 0]), address(to.address, to.port), data]), bound.port, bound.host);
      return true;
    },
    receive: () => received.take(),
    close: () => {
      socket.close();
      control.destroy();
    },
  };
}

async function request(
  proxy: SocksServer,
  command: number,
  host: string,
  port: number,
  timeoutMs: number,
): Promise<{ socket: Socket; bound: { host: string; port: number } }> {
  const socket = connect({ ...proxy, allowHalfOpen: true });
  const timer = setTimeout(() => socket.destroy(new Error(`SOCKS: no answer within ${timeoutMs / 1000} s`)), timeoutMs);
  try {
    socket.write(Buffer.from([5, 1, 0]));
    const hello = await readExactly(socket, 2);
    if (hello[0] !== 5 || hello[1] !== 0) throw new Error(`SOCKS: greeted with ${hello.toString('hex')}`);
    socket.write(Buffer.concat([Buffer.from([5, command, 0]), address(host, port)]));
    const head = await readExactly(socket, 5);
    const code = head[1]!;
    if (code !== 0) throw new Error(`SOCKS: ${REPLIES[code] ?? `reply ${code}`}`);
    const rest = head[3] === 1 ? 5 : head[3] === 4 ? 17 : head[4]! + 2;
    const reply = Buffer.concat([head, await readExactly(socket, rest)]);
    return { socket, bound: readAddress(reply, 3) };
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function readExactly(socket: Socket, bytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const end = (error?: Error) => {
      socket.off('readable', read);
      socket.off('end', closed);
      socket.off('error', end);
      socket.off('close', closed);
      if (error !== undefined) reject(error);
    };
    const closed = () => end(new Error('SOCKS: the proxy closed the connection'));
    const read = () => {
      const chunk = socket.read(bytes) as Buffer | null;
      if (chunk === null) return;
      end();
      if (chunk.length === bytes) resolve(chunk);
      else reject(new Error('SOCKS: the proxy closed the connection'));
    };
    socket.on('readable', read);
    socket.on('end', closed);
    socket.on('error', end);
    socket.on('close', closed);
    read();
  });
}

/** Address type, address, port (§5). */
function address(host: string, port: number): Buffer {
  const kind = isIP(host);
  const tail = Buffer.from([port >> 8, port & 255]);
  if (kind === 4) return Buffer.concat([Buffer.from([1, ...host.split('.').map(Number)]), tail]);
  if (kind === 6) return Buffer.concat([Buffer.from([4]), v6Bytes(host), tail]);
  const name = Buffer.from(host);
  return Buffer.concat([Buffer.from([3, name.length]), name, tail]);
}

function readAddress(buf: Buffer, at: number): { host: string; port: number; end: number } {
  const kind = buf[at];
  const start = kind === 3 ? at + 2 : at + 1;
  const end = start + (kind === 1 ? 4 : kind === 4 ? 16 : buf[at + 1]!);
  const bytes = buf.subarray(start, end);
  const words = () => Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2).toString(16)).join(':');
  const host = kind === 1 ? bytes.join('.') : kind === 4 ? words() : bytes.toString();
  return { host, port: buf.readUInt16BE(end), end: end + 2 };
}

function v6Bytes(host: string): Buffer {
  const [left = '', right] = host.split('::');
  const words = (text: string) => (text === '' ? [] : text.split(':').map(word => Number.parseInt(word, 16)));
  const head = words(left);
  const tail = right === undefined ? [] : words(right);
  const all = [...head, ...new Array(8 - head.length - tail.length).fill(0), ...tail];
  return Buffer.from(all.flatMap(word => [word >> 8, word & 255]));
}
