/**
 * By hand: `go build -o SERVER . && npx tsx watch.ts SERVER` in this folder. The HTTP/2 client against Go's server over
 * loopback, on both presets: prints what it sees, and ends with 1 where that is not what it must be.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { Http2Client } from '../../../../lib/http2/client.ts';
import type { Http2Request } from '../../../../lib/http2/client-types.ts';
import { HTTP2_LIMITS_LARGE, HTTP2_LIMITS_SMALL, type Http2Limits } from '../../../../lib/http2/limits.ts';

interface Answer {
  status: number;
  body: Uint8Array[];
  bytes: number;
  notes: string[];
  isDone: boolean;
}

/** One connection; answers by stream. */
class Watch {
  readonly client: Http2Client;
  readonly answers = new Map<number, Answer>();
  readonly socket: net.Socket;
  mostMemory = 0;
  holds = false;
  onWritable = () => {};
  readonly log: string[] = [];
  readonly #isByteByByte: boolean;

  constructor(port: number, limits: Http2Limits, isByteByByte: boolean) {
    this.#isByteByByte = isByteByByte;
    this.client = new Http2Client({ nowMs: performance.now(), limits, keepAliveMs: 100 });
    this.socket = net.connect(port, '127.0.0.1', () => this.pump());
    this.socket.on('data', chunk => {
      const step = this.#isByteByByte ? 1 : chunk.length;
      for (let at = 0; at < chunk.length; at += step) {
        this.client.handleBytes(performance.now(), chunk, at, at + step);
        this.mostMemory = Math.max(this.mostMemory, this.client.memoryBytes);
      }
      this.pump();
    });
    this.socket.on('drain', () => this.pump());
    this.socket.on('close', () => {
      this.client.handleEnd();
      this.pump();
    });
  }

  pump(): void {
    const out = new Uint8Array(4096);
    this.client.handleTimeout(performance.now());
    for (let isBusy = true; isBusy; ) {
      isBusy = false;
      for (let event = this.client.pollEvent(); event !== undefined; event = this.client.pollEvent()) {
        const answer = 'id' in event ? this.answers.get(event.id)! : undefined;
        if (event.type === 'headers') answer!.status = event.status;
        else if (event.type === 'data') {
          answer!.body.push(event.buf.slice(event.start, event.end));
          answer!.bytes += event.end - event.start;
          if (!this.holds) this.client.consumed(performance.now(), event.id, event.end - event.start);
        } else if (event.type === 'writable') this.onWritable();
        else if (event.type === 'end') answer!.isDone = true;
        else this.log.push(JSON.stringify(event));
        if (event.type === 'reset' && answer !== undefined) {
          answer.isDone = true;
          answer.notes.push(event.error.message);
        }
      }
      while (this.socket.writableLength < 65_536) {
        const length = this.client.pollBytes(out, 0, out.length);
        if (length === 0) break;
        this.socket.write(out.slice(0, length));
        isBusy = true;
      }
    }
  }

  request(request: Partial<Http2Request>): Answer & { id: number } {
    const id = this.client.request(performance.now(), { method: 'GET', path: '/', authority: 'unused', ...request });
    const answer = { id, status: 0, body: [], bytes: 0, notes: [], isDone: false };
    this.answers.set(id, answer);
    this.pump();
    return answer;
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    const deadline = performance.now() + 20_000;
    while (!holds()) {
      if (performance.now() > deadline) throw new Error(`${what} did not happen; ${this.client.error?.message}`);
      await new Promise(resolve => setTimeout(resolve, 5));
      this.pump();
    }
  }
}

const text = (answer: Answer) => Buffer.concat(answer.body).toString();
const see = (holds: boolean, line: string) => {
  console.log(`${holds ? 'ok  ' : 'FAIL'} ${line}`);
  if (!holds) process.exitCode = 1;
};

async function watch(name: string, port: number, limits: Http2Limits, isByteByByte: boolean): Promise<Watch> {
  const link = new Watch(port, limits, isByteByByte);
  const size = 5_000_000;
  const content = new Uint8Array(size).map((_, i) => i % 251);
  const hash = createHash('sha256').update(content).digest('hex');
  const first = link.request({ path: '/hash' });
  await link.until('the first answer', () => first.isDone);
  const several = [0, 1, 2, 3, 4, 5].map(i => link.request({ path: '/hash', body: new Uint8Array(i * 50) }));
  await link.until('six answers', () => several.every(({ isDone }) => isDone));
  const seen = several.map(answer => text(answer).split(' ').slice(0, 2).join(' ')).join(', ');
  see(
    seen === 'GET 0, GET 50, GET 100, GET 150, GET 200, GET 250',
    `${name}: GET with bodies, three at a time: ${seen}`,
  );
  const ticks = link.request({ path: '/ticks' });
  const up = link.request({ method: 'POST', path: '/hash', endStream: false });
  let at = 0;
  let isEnded = false;
  link.onWritable = () => {
    if (isEnded) return;
    at += link.client.sendData(performance.now(), up.id, content, at, size, true);
    isEnded = at === size;
  };
  link.onWritable();
  await link.until('the upload', () => up.isDone);
  see(text(up) === `POST ${size} ${hash} <nil>`, `${name}: 5 MB up: ${text(up).slice(0, 30)}…`);
  link.holds = true;
  const down = link.request({ path: `/bytes/${size}` });
  await new Promise(resolve => setTimeout(resolve, 300));
  const held = down.bytes;
  see(held > 0 && held <= limits.windowBytes, `${name}: held back after ${held} bytes`);
  link.holds = false;
  link.client.consumed(performance.now(), down.id, held);
  link.client.cancel(performance.now(), ticks.id);
  await link.until('the download', () => down.isDone);
  const isSame = createHash('sha256').update(Buffer.concat(down.body)).digest('hex') === hash;
  see(isSame, `${name}: 5 MB down, the same bytes; ticks meanwhile: ${text(ticks).split('\n').length}`);
  const head = link.request({ path: `/head?n=${limits === HTTP2_LIMITS_SMALL ? 1500 : 60_000}` });
  await link.until('the large head', () => head.isDone);
  see(
    link.log.some(line => line.includes('trailers')),
    `${name}: a large head and a trailer: ${link.log.join(' ')}`,
  );
  const bomb = link.request({ path: `/head?n=${limits === HTTP2_LIMITS_SMALL ? 1990 : 180_000}` });
  await link.until('the larger head', () => bomb.isDone || link.client.error !== undefined);
  see(true, `${name}: a larger head: ${link.client.error?.message ?? bomb.notes[0]}`);
  see(limits !== HTTP2_LIMITS_SMALL || link.mostMemory < 12_000, `${name}: at most ${link.mostMemory} bytes held`);
  return link;
}

const server = spawn(process.argv[2]!, { stdio: ['pipe', 'pipe', 'inherit'] });
const lines = createInterface(server.stdout);
const [address] = (await once(lines, 'line')) as [string];
lines.on('line', line => console.log(`     server: ${line}`));
const port = Number(address.split(':')[1]);
await watch('large', port, HTTP2_LIMITS_LARGE, false);
await watch('small', port, HTTP2_LIMITS_SMALL, false);
await watch('small, byte by byte', port, HTTP2_LIMITS_SMALL, true);
const last = new Watch(port, HTTP2_LIMITS_SMALL, false);
const ticks = last.request({ path: '/ticks' });
await last.until('ticks', () => ticks.bytes > 5);
await new Promise(resolve => setTimeout(resolve, 300));
server.stdin.end();
await last.until('a goodbye', () => last.log.length > 0);
last.client.cancel(performance.now(), ticks.id);
await last.until('the end', () => last.client.error !== undefined);
see(
  last.client.error?.code === 'ERR_CLOSED',
  `the server leaves: ${last.log.join(' ')}; ${last.client.error?.message}`,
);
process.exit();
