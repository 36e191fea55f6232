/**
 * Both ends of flows whose end is looked for: `FlowSource` keeps a TCP connection and a UDP flow busy and opens new
 * connections all the time, `FlowTarget` notes when the last of each has come. Times are of the wall clock, so that
 * programs of one machine can compare them.
 */
import type { Acceptor, Face, Flow, UdpFace } from './peer-program.ts';

const PACKET = Object.freeze([0x70, 0x6f, 0x6c, 0x69, 0x63, 0x79, 0x0a, 0x00]);
const DIAL_MS = 1000;

/** What has come; times in ms since 1970, 0 for never. */
export interface TargetReport {
  readonly acceptedMs: number;
  readonly tcpMs: number;
  readonly udpMs: number;
}

/** What the other end knows. */
export interface SourceReport {
  /** How the connection ended, and when; absent: it has not. */
  readonly ended?: { readonly ms: number; readonly code: string };
  /** How the last try of a new connection ended: `open` or a code. */
  readonly lastDial: string;
}

/** Takes connections and datagrams on a port, and sends back what comes. */
export class FlowTarget {
  readonly #acceptor: Acceptor;
  readonly #socket: UdpFace;
  #acceptedMs = 0;
  #tcpMs = 0;
  #udpMs = 0;

  private constructor(acceptor: Acceptor, socket: UdpFace) {
    this.#acceptor = acceptor;
    this.#socket = socket;
    void this.#accept();
    void this.#receive();
  }

  static async make(face: Face, port: number): Promise<FlowTarget> {
    return new FlowTarget(await face.listen(port), await face.udp(port));
  }

  get report(): TargetReport {
    return { acceptedMs: this.#acceptedMs, tcpMs: this.#tcpMs, udpMs: this.#udpMs };
  }

  async #accept(): Promise<void> {
    for (let flow = await this.#acceptor.accept(); flow !== undefined; flow = await this.#acceptor.accept()) {
      this.#acceptedMs = Date.now();
      this.#serve(flow).catch(() => flow.abort());
    }
  }

  async #serve(flow: Flow): Promise<void> {
    for (let chunk = await flow.read(); chunk !== undefined; chunk = await flow.read()) {
      this.#tcpMs = Date.now();
      await flow.write(chunk);
    }
    await flow.end();
  }

  async #receive(): Promise<void> {
    for (let got = await this.#socket.receive(); got !== undefined; got = await this.#socket.receive()) {
      this.#udpMs = Date.now();
      this.#socket.send(got.data, got.from);
    }
  }
}

/** Keeps flows to a target busy until it is stopped. */
export class FlowSource {
  readonly #face: Face;
  readonly #to: { readonly address: string; readonly port: number };
  readonly #everyMs: number;
  #flow!: Flow;
  #socket!: UdpFace;
  #timer: NodeJS.Timeout | undefined;
  #ended: SourceReport['ended'];
  #lastDial = '';
  #isStopped = false;

  constructor(face: Face, to: { address: string; port: number }, everyMs: number) {
    this.#face = face;
    this.#to = to;
    this.#everyMs = everyMs;
  }

  /** Settles when the connection is open. */
  async start(): Promise<void> {
    const { address, port } = this.#to;
    this.#flow = await this.#face.dial(address, port, 10_000);
    this.#socket = await this.#face.udp(0);
    const data = Uint8Array.from(PACKET);
    this.#timer = setInterval(() => {
      this.#socket.send(data, this.#to);
      if (this.#ended === undefined) this.#flow.write(data).catch(error => this.#end(error));
    }, this.#everyMs);
    void this.#drain();
    void this.#read();
    void this.#dialOn();
  }

  get report(): SourceReport {
    return { ...(this.#ended !== undefined && { ended: this.#ended }), lastDial: this.#lastDial };
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
    this.#flow.abort();
    void this.#socket.close();
  }

  #end(error: unknown): void {
    const { code, message } = error as { code?: string; message?: string };
    this.#ended ??= { ms: Date.now(), code: code ?? message ?? String(error) };
  }

  async #drain(): Promise<void> {
    while ((await this.#socket.receive()) !== undefined);
  }

  async #read(): Promise<void> {
    try {
      while ((await this.#flow.read()) !== undefined);
      this.#end('closed by the other side');
    } catch (error) {
      this.#end(error);
    }
  }

  async #dialOn(): Promise<void> {
    const { address, port } = this.#to;
    while (!this.#isStopped) {
      try {
        const flow = await this.#face.dial(address, port, DIAL_MS);
        this.#lastDial = 'open';
        flow.abort();
      } catch (error) {
        const { code, message } = error as { code?: string; message: string };
        this.#lastDial = code ?? message;
      }
      await new Promise(resolve => setTimeout(resolve, this.#everyMs));
    }
  }
}
