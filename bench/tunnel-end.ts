/**
 * One end of the throughput benches, as a process of its own: a mote with a TCP source or sink, or a plain UDP socket
 * with the same. Told what to do by JSON lines.
 */
import { createSocket, type Socket } from 'node:dgram';
import { type MoteOptions, up } from '../targets/node/index.ts';
import { type Json, serveJsonLines } from '../test/interop/json-lines.ts';

const CHUNK_BYTES = 262_144;
/** Plain datagrams sent before the loop lets the socket be read. */
const UDP_BURST = 64;

let mote: Awaited<ReturnType<typeof up>> | undefined;
let received = 0;
let isSending = false;

function report(error: unknown): void {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
}

/** Accepts connections and counts what comes. */
async function sink(port: number): Promise<void> {
  const listener = await mote!.listen(port);
  const drain = async () => {
    for (;;) {
      const connection = await listener.accept();
      if (connection === undefined) return;
      const buffer = new Uint8Array(CHUNK_BYTES);
      const read = async () => {
        for (;;) {
          const length = await connection.readInto(buffer);
          if (length === 0) break;
          received += length;
        }
        await connection.close();
      };
      read().catch(report);
    }
  };
  drain().catch(report);
}

/** Writes until told to stop. */
async function source(host: string, port: number): Promise<void> {
  const connection = await mote!.dial(host, port);
  const chunk = new Uint8Array(CHUNK_BYTES);
  isSending = true;
  const write = async () => {
    while (isSending) await connection.write(chunk);
    await connection.close();
  };
  write().catch(report);
}

async function bindUdp(port: number): Promise<Socket> {
  const socket = createSocket({
    type: 'udp4',
    recvBufferSize: 4 << 20,
    sendBufferSize: 4 << 20,
    lookup: (host, _options, callback) => callback(null, host, 4),
  });
  await new Promise<void>(resolve => socket.bind(port, resolve));
  return socket;
}

async function udpSink(port: number): Promise<void> {
  const socket = await bindUdp(port);
  socket.on('message', message => {
    received += message.length;
  });
}

async function udpSource(host: string, port: number, bytes: number): Promise<void> {
  const socket = await bindUdp(0);
  const datagram = new Uint8Array(bytes);
  isSending = true;
  const send = () => {
    if (!isSending) return socket.close();
    for (let i = 0; i < UDP_BURST && socket.getSendQueueCount() < UDP_BURST; i++)
      socket.send(datagram, 0, bytes, port, host);
    setImmediate(send);
  };
  send();
}

serveJsonLines(async (op, a: Json) => {
  if (op === 'open') mote = await up(a.options as MoteOptions);
  else if (op === 'sink') await sink(a.port);
  else if (op === 'source') await source(a.host, a.port);
  else if (op === 'udpSink') await udpSink(a.port);
  else if (op === 'udpSource') await udpSource(a.host, a.port, a.bytes);
  else if (op === 'stop') isSending = false;
  else if (op === 'measure') {
    const before = received;
    const startMs = performance.now();
    await new Promise(resolve => setTimeout(resolve, a.ms));
    return { mbps: ((received - before) * 8) / 1000 / (performance.now() - startMs) };
  } else if (op === 'facts')
    return { suite: mote?.status().suite, rss: process.memoryUsage().rss, cpu: process.cpuUsage() };
  else throw new RangeError(`"op" expected a known one, got ${op}`);
  return {};
});
