/**
 * The program at one end of a tunnel, told what to do by JSON lines: `{"id":1,"op":"dial","host":"10.66.0.1","port":80}`
 * on stdin, `{"id":1,"ok":{…}}` or `{"id":1,"error":{code,message}}` on stdout.
 *
 * It is written against a small face of listen, dial, udp, ping, serve and fetch. `mote-peer.ts` puts a mote behind it,
 * `kernel-peer.ts` the kernel's sockets; so every case can also run with stock programs on both ends, which proves the case.
 * Bulk data never passes through the JSON: both ends make it from a seed and report hashes.
 */
import { createHash } from 'node:crypto';
import { type Json, serveJsonLines } from './json-lines.ts';
import { patternBytes, patternChunks } from './pattern.ts';
import { FlowSource, FlowTarget } from './policy-flows.ts';
import { Probe } from './probe.ts';

/** One TCP connection. */
export interface Flow {
  readonly remote: { readonly address: string; readonly port: number };
  /** Next bytes, or undefined at the end of the stream. */
  read(): Promise<Uint8Array | undefined>;
  /** Settles when all of it is in the send buffer. */
  write(data: Uint8Array): Promise<void>;
  /** Half close. */
  end(): Promise<void>;
  /** Reset. */
  abort(): void;
  close(): Promise<void>;
  readonly closed: Promise<void>;
}

/** What accepts connections. */
export interface Acceptor {
  readonly port: number;
  accept(): Promise<Flow | undefined>;
  close(): void | Promise<void>;
}

/** One UDP socket. */
export interface UdpFace {
  readonly port: number;
  send(data: Uint8Array, to: { address: string; port: number }): boolean;
  receive(): Promise<{ data: Uint8Array; from: { address: string; port: number } } | undefined>;
  close(): void | Promise<void>;
}

/** What a peer can do, mote or kernel. */
export interface Face {
  listen(port: number): Promise<Acceptor>;
  dial(host: string, port: number, timeoutMs: number): Promise<Flow>;
  udp(port: number): Promise<UdpFace>;
  ping(host: string, o: { timeoutMs: number; payloadBytes: number }): Promise<number>;
  serve(port: number, handler: (request: Request) => Response | Promise<Response>): Promise<{ port: number }>;
  fetch(url: string, init?: RequestInit): Promise<Response>;
  /** Open TCP connections, listeners and TIME-WAIT not counted. */
  connections(): number;
  status(): unknown;
  change(action: string, args: Record<string, unknown>): void;
  close(): Promise<void>;
}

/** State of one run: what the JSON refers to by number. */
class Peer {
  readonly face: Face;
  readonly #flows: (Flow | undefined)[] = [];
  readonly #acceptors: Acceptor[] = [];
  readonly #sockets: UdpFace[] = [];

  constructor(face: Face) {
    this.face = face;
  }

  async listen(a: Json) {
    const acceptor = await this.face.listen(a.port);
    return { listener: this.#acceptors.push(acceptor) - 1, port: acceptor.port };
  }

  async accept(a: Json) {
    const flow = await this.#acceptors[a.listener]!.accept();
    if (flow === undefined) throw new Error('the listener is closed');
    return { conn: this.#flows.push(flow) - 1, remote: flow.remote };
  }

  async unlisten(a: Json) {
    await this.#acceptors[a.listener]!.close();
    return {};
  }

  async dial(a: Json) {
    const flow = await this.face.dial(a.host, a.port, a.timeoutMs ?? 10_000);
    return { conn: this.#flows.push(flow) - 1 };
  }

  /** Writes a pattern; `progress` afterwards tells how far a blocked one came. */
  async send(a: Json) {
    const flow = this.#flow(a);
    const hash = createHash('sha256');
    const startMs = performance.now();
    const progress = { bytes: 0 };
    this.#progress.set(a.conn, progress);
    for (const chunk of patternChunks(a.seed ?? 1, a.bytes)) {
      hash.update(chunk);
      await flow.write(chunk);
      progress.bytes += chunk.length;
    }
    if (a.end === true) await flow.end();
    return { bytes: progress.bytes, sha256: hash.digest('hex'), ms: performance.now() - startMs };
  }

  readonly #progress = new Map<number, { bytes: number }>();

  async progress(a: Json) {
    return { bytes: this.#progress.get(a.conn)?.bytes ?? 0 };
  }

  /** Reads to the end, or until `bytes` have come; `pauseMs` after each chunk of the first `pauseBytes` makes a slow reader. */
  async receive(a: Json) {
    const flow = this.#flow(a);
    const hash = createHash('sha256');
    const startMs = performance.now();
    let bytes = 0;
    let isEnded = false;
    while (a.bytes === undefined || bytes < a.bytes) {
      const chunk = await flow.read();
      if (chunk === undefined) {
        isEnded = true;
        break;
      }
      hash.update(chunk);
      bytes += chunk.length;
      if (a.pauseMs !== undefined && bytes < a.pauseBytes) await new Promise(resolve => setTimeout(resolve, a.pauseMs));
    }
    return { bytes, sha256: hash.digest('hex'), ms: performance.now() - startMs, isEnded };
  }

  async end(a: Json) {
    await this.#flow(a).end();
    return {};
  }

  async abort(a: Json) {
    this.#flow(a).abort();
    return {};
  }

  async closeFlow(a: Json) {
    await this.#flow(a).close();
    this.#flows[a.conn] = undefined;
    return {};
  }

  async closed(a: Json) {
    await this.#flow(a).closed;
    return {};
  }

  /** Accepts for ever and sends everything back, ending when the other side ends. */
  async echo(a: Json) {
    const acceptor = await this.face.listen(a.port);
    const serve = async (flow: Flow) => {
      for (;;) {
        const chunk = await flow.read();
        if (chunk === undefined) break;
        await flow.write(chunk);
      }
      await flow.end();
    };
    const run = async () => {
      for (;;) {
        const flow = await acceptor.accept();
        if (flow === undefined) return;
        serve(flow).catch(() => flow.abort());
      }
    };
    run().catch(report);
    return { port: acceptor.port };
  }

  /** Opens `count` connections to an echo, `width` at a time; each sends, reads it back, and closes. */
  async churn(a: Json) {
    let next = 0;
    let good = 0;
    const errors: Record<string, number> = {};
    const startMs = performance.now();
    const one = async (index: number) => {
      const flow = await this.face.dial(a.host, a.port, 15_000);
      const sent = patternBytes(index, a.bytes ?? 200);
      await flow.write(sent);
      await flow.end();
      const got: Uint8Array[] = [];
      for (let chunk = await flow.read(); chunk !== undefined; chunk = await flow.read()) got.push(chunk);
      if (Buffer.compare(Buffer.concat(got), sent) !== 0) throw new Error('the echo differs');
      await flow.close();
    };
    const lane = async () => {
      while (next < a.count) {
        try {
          await one(next++);
          good++;
        } catch (error) {
          const { code, message } = error as { code?: string; message: string };
          errors[code ?? message] = (errors[code ?? message] ?? 0) + 1;
        }
      }
    };
    await Promise.all(Array.from({ length: a.width ?? 50 }, lane));
    return { good, errors, ms: performance.now() - startMs };
  }

  async connections() {
    return { connections: this.face.connections() };
  }

  async udp(a: Json) {
    const socket = await this.face.udp(a.port ?? 0);
    return { socket: this.#sockets.push(socket) - 1, port: socket.port };
  }

  async udpEcho(a: Json) {
    const socket = await this.face.udp(a.port);
    const run = async () => {
      for (;;) {
        const got = await socket.receive();
        if (got === undefined) return;
        socket.send(got.data, got.from);
      }
    };
    run().catch(report);
    return { port: socket.port };
  }

  async udpSend(a: Json) {
    const isSent = this.#sockets[a.socket]!.send(patternBytes(a.seed ?? 1, a.bytes), { address: a.host, port: a.port });
    return { isSent };
  }

  async udpReceive(a: Json) {
    const got = await this.#sockets[a.socket]!.receive();
    if (got === undefined) throw new Error('the socket is closed');
    const sha256 = createHash('sha256').update(got.data).digest('hex');
    return { bytes: got.data.length, sha256, from: got.from };
  }

  readonly #probes: Probe[] = [];

  /** Sends numbered datagrams to an echo, one every `everyMs`, until `probeStop`. */
  async probe(a: Json) {
    const socket = await this.face.udp(0);
    return { probe: this.#probes.push(new Probe(socket, { address: a.host, port: a.port }, a.everyMs)) - 1 };
  }

  async probeReport(a: Json) {
    return this.#probes[a.probe]!.report(a.sinceMs ?? 0);
  }

  async probeStop(a: Json) {
    return this.#probes[a.probe]!.stop();
  }

  readonly #targets: FlowTarget[] = [];
  readonly #sources: FlowSource[] = [];

  /** Takes TCP and UDP on a port, and notes when the last of each came. */
  async target(a: Json) {
    return { target: this.#targets.push(await FlowTarget.make(this.face, a.port)) - 1 };
  }

  async targetReport(a: Json) {
    return this.#targets[a.target]!.report;
  }

  /** Keeps flows to a target busy. */
  async flows(a: Json) {
    const source = new FlowSource(this.face, { address: a.host, port: a.port }, a.everyMs);
    await source.start();
    return { flows: this.#sources.push(source) - 1 };
  }

  async flowsReport(a: Json) {
    return this.#sources[a.flows]!.report;
  }

  async flowsStop(a: Json) {
    this.#sources[a.flows]!.stop();
    return {};
  }

  async ping(a: Json) {
    return { ms: await this.face.ping(a.host, { timeoutMs: a.timeoutMs ?? 5000, payloadBytes: a.payloadBytes ?? 56 }) };
  }

  /** HTTP: `GET /data?bytes=N&seed=S` streams a pattern, PUT or POST answers with the hash of the body. */
  async serve(a: Json) {
    const { port } = await this.face.serve(a.port, async request => {
      const url = new URL(request.url);
      if (request.method === 'PUT' || request.method === 'POST')
        return new Response(JSON.stringify(await hashBody(request.body)));
      if (url.pathname !== '/data') return new Response('hello from inside the tunnel\n');
      const bytes = Number(url.searchParams.get('bytes'));
      const headers = { 'content-length': `${bytes}`, 'content-type': 'application/octet-stream' };
      return new Response(patternStream(Number(url.searchParams.get('seed')), bytes), { headers });
    });
    return { port };
  }

  async fetch(a: Json) {
    const startMs = performance.now();
    const init = a.upload === undefined ? {} : { method: 'PUT', body: patternStream(a.seed, a.upload), duplex: 'half' };
    const response = await this.face.fetch(a.url, init as RequestInit);
    const body = a.upload === undefined ? await hashBody(response.body) : JSON.parse(await response.text());
    return { status: response.status, ...body, ms: performance.now() - startMs };
  }

  async status() {
    return { status: this.face.status() };
  }

  async change(a: Json) {
    this.face.change(a.action, a.args);
    return {};
  }

  /** Memory after a collection (the program runs with --expose-gc). */
  async memory() {
    (globalThis as { gc?: () => void }).gc?.();
    const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
    return { rss, heapUsed, arrayBuffers };
  }

  async close() {
    await this.face.close();
    return {};
  }

  #flow(a: Json): Flow {
    const flow = this.#flows[a.conn];
    if (flow === undefined) throw new RangeError(`"conn" expected an open connection, got ${a.conn}`);
    return flow;
  }
}

async function hashBody(body: ReadableStream<Uint8Array> | null): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  if (body !== null)
    for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
      hash.update(chunk);
      bytes += chunk.length;
    }
  return { bytes, sha256: hash.digest('hex') };
}

function patternStream(seed: number, bytes: number): ReadableStream<Uint8Array> {
  const chunks = patternChunks(seed, bytes);
  return new ReadableStream({
    pull(controller) {
      const next = chunks.next();
      if (next.done === true) controller.close();
      else controller.enqueue(next.value);
    },
  });
}

function report(error: unknown): void {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
}

/** An op of one program alone. */
export type OwnOp = (args: Json) => Promise<object>;

/**
 * Serves the JSON lines until stdin closes. `open` makes the face from the arguments of the `open` op, the first one.
 * `own` are further ops, which also work before that.
 */
export function runPeerProgram(
  open: (args: Json) => Promise<{ face: Face; info: object }>,
  own: Readonly<Record<string, OwnOp>> = {},
): void {
  let peer: Peer | undefined;
  const perform = async (op: string, args: Json): Promise<object> => {
    if (op === 'open') {
      const { face, info } = await open(args);
      peer = new Peer(face);
      return info;
    }
    if (own[op] !== undefined) return own[op](args);
    if (peer === undefined) throw new Error('not open yet');
    return (peer as unknown as Record<string, (args: Json) => Promise<object>>)[op]!(args);
  };
  serveJsonLines(perform);
}
