/**
 * Stock `tailscaled` in a party's namespace, with its own network stack unless told, driven by the stock `tailscale`
 * command, and a program beside it that talks through it (tailscale-side.ts).
 */
import { request } from 'node:http';
import { join } from 'node:path';
import { type Json, Remote } from './json-lines.ts';
import { type Finished, type Lab, type Program, until } from './lab.ts';
import { stockProgram } from './programs.ts';
import type { Party, TailnetNet } from './tailscale-net.ts';

const SOCKS_PORT = 1055;
const HTTP_PROXY_PORT = 1056;
/** Where a node with a device of the kernel takes UDP from outside; others let the system choose. */
export const STOCK_UDP_PORT = 41_641;

/** What `tailscale up` is told. */
export interface UpOptions {
  readonly loginServer: string;
  readonly authKey?: string | undefined;
  readonly extra?: readonly string[];
  readonly timeoutMs?: number;
}

/** How `tailscale ping` goes about it. */
export type PingKind = 'disco' | 'tsmp' | 'icmp' | 'peerapi';

/** One stock node. */
export class StockNode {
  readonly lab: Lab;
  readonly net: TailnetNet;
  readonly party: Party;
  readonly name: string;
  /** The build: `tailscaled` or `tailscaled (old)`. */
  readonly build: string;
  /** What the program says its version is; known once it has started. */
  version = '';
  /** Listens for what comes in, opens what goes out. */
  readonly side: Remote;
  readonly #folder: string;
  /** Name of its device in the namespace; undefined: it has none. */
  readonly #tun: string | undefined;
  #daemon: Program | undefined;

  private constructor(net: TailnetNet, party: Party, name: string, build: string, tun: string | undefined) {
    this.lab = net.lab;
    this.net = net;
    this.party = party;
    this.name = name;
    this.build = build;
    this.#folder = net.lab.directory();
    this.#tun = tun;
    this.side = new Remote(net.lab, party.space, 'tailscale-side.ts');
  }

  /** Makes a party with a running tailscaled that is not logged in yet; `tun` gives the kernel a device of that name. */
  static async make(
    net: TailnetNet,
    name: string,
    build: string,
    o: { isEphemeral?: boolean; party?: Party; tun?: string } = {},
  ): Promise<StockNode> {
    const node = new StockNode(net, o.party ?? (await net.party(name.slice(0, 4))), name, build, o.tun);
    await Promise.all([node.start(o), node.side.call('open', { socksPort: SOCKS_PORT })]);
    node.version = (await node.command(['version'])).stdout.split('\n')[0]!.trim();
    return node;
  }

  /** Starts tailscaled with the state it had; with `isEphemeral` it keeps its state in memory. */
  async start(o: { isEphemeral?: boolean } = {}): Promise<void> {
    const args = [
      `--tun=${this.#tun ?? 'userspace-networking'}`,
      `--socks5-server=127.0.0.1:${SOCKS_PORT}`,
      `--outbound-http-proxy-listen=127.0.0.1:${HTTP_PROXY_PORT}`,
      `--state=${o.isEphemeral === true ? 'mem:' : join(this.#folder, 'tailscaled.state')}`,
      `--statedir=${this.#folder}`,
      `--socket=${this.#socket}`,
      '--no-logs-no-support',
      ...(this.#tun === undefined ? [] : [`--port=${STOCK_UDP_PORT}`]),
    ];
    this.#daemon = this.lab.start(this.party.space, [stockProgram(this.build, 'tailscaled'), ...args], {
      env: this.#env(),
      name: `tailscaled ${this.name}`,
    });
    const daemon = this.#daemon;
    await until(`tailscaled of ${this.name} answers`, 15_000, async () => {
      if (!daemon.isRunning) throw new Error(`tailscaled ended: ${daemon.tail()}`);
      return (await this.command(['status', '--json'], { mayFail: true })).stdout.startsWith('{');
    });
  }

  /** `tailscale up`; settles when it is done. Throws with its words when it fails. */
  async up(o: UpOptions): Promise<void> {
    await this.command(this.#upArgs(o), { timeoutMs: (o.timeoutMs ?? 40_000) + 5000 });
  }

  /** `tailscale up` that is left waiting, as for an approval. */
  startUp(o: UpOptions): Program {
    return this.lab.start(this.party.space, [...this.#cli(), ...this.#upArgs(o)], {
      env: this.#env(),
      name: `tailscale up ${this.name}`,
    });
  }

  #upArgs(o: UpOptions): string[] {
    const seconds = Math.ceil((o.timeoutMs ?? 40_000) / 1000);
    const key = o.authKey === undefined ? [] : [`--auth-key=${o.authKey}`];
    const args = [`--login-server=${o.loginServer}`, `--hostname=${this.name}`, `--timeout=${seconds}s`];
    return ['up', ...args, ...key, ...(o.extra ?? [])];
  }

  /** `tailscale status --json`. */
  async status(): Promise<Json> {
    return JSON.parse((await this.command(['status', '--json'], { mayFail: true })).stdout) as Json;
  }

  /** The same from its local API, without a process: for what is asked many times. */
  async quickStatus(): Promise<Json> {
    return JSON.parse(await this.local('status')) as Json;
  }

  /** What its local API says. */
  local(name: string, method: 'GET' | 'POST' = 'GET'): Promise<string> {
    return new Promise((resolve, reject) => {
      const headers = { host: 'local-tailscaled.sock' };
      const path = `/localapi/v0/${name}`;
      const asked = request({ socketPath: this.#socket, path, method, headers, timeout: 5000 }, answer => {
        let text = '';
        answer.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        answer.once('end', () => {
          if (answer.statusCode === 200) resolve(text);
          else reject(new Error(`local API of ${this.name}: ${answer.statusCode} ${text.slice(0, 200)}`));
        });
      });
      asked.once('timeout', () => asked.destroy(new Error(`local API of ${this.name}: silent for 5 s`)));
      asked.once('error', reject);
      asked.end();
    });
  }

  /** Waits until the backend is in a state such as `Running`, and for its status then. */
  async reaches(state: string, timeoutMs = 30_000): Promise<Json> {
    return until(`${this.name} is ${state}`, timeoutMs, async () => {
      const status = await this.status();
      return status.BackendState === state && status;
    });
  }

  /** Its IPv4 address in the tailnet. */
  async address(): Promise<string> {
    const { Self } = await this.status();
    const address = (Self?.TailscaleIPs as string[] | undefined)?.find(text => !text.includes(':'));
    if (address === undefined) throw new Error(`${this.name} has no address`);
    return address;
  }

  /** The status entry of the peer whose name begins so, or undefined. */
  async peer(name: string): Promise<Json | undefined> {
    const { Peer } = await this.status();
    const peers = Object.values((Peer ?? {}) as Record<string, Json>);
    return peers.find(peer => (peer.DNSName as string).split('.')[0] === name);
  }

  /** Waits until it lists a peer of that name that is online and has a home relay, without which nothing reaches it. */
  async sees(name: string, timeoutMs = 20_000): Promise<Json> {
    return until(`${this.name} sees ${name}`, timeoutMs, async () => {
      const peer = await this.peer(name);
      return peer?.Online === true && peer.Relay !== '' && peer;
    });
  }

  /** Waits until it lists a peer of that name as offline. */
  async misses(name: string, timeoutMs = 30_000): Promise<Json> {
    return until(`${this.name} sees ${name} offline`, timeoutMs, async () => {
      const peer = await this.peer(name);
      return peer !== undefined && peer.Online !== true && peer;
    });
  }

  /** Waits until it lists no peer of that name. */
  async forgets(name: string, timeoutMs = 20_000): Promise<void> {
    await until(`${this.name} no longer sees ${name}`, timeoutMs, async () => (await this.peer(name)) === undefined);
  }

  /** One `tailscale ping`; returns its line, such as `pong from mote (100.64.0.3, 0) via TSMP in 4ms`. */
  async ping(target: string, kind: PingKind): Promise<string> {
    const flags = kind === 'disco' ? ['--until-direct=false'] : [`--${kind}`];
    const args = ['ping', ...flags, '--c=3', '--timeout=5s', target];
    const { stdout, stderr } = await this.command(args, { mayFail: true });
    const line = /^pong .*$|^.*\bhit\b.*$/m.exec(stdout)?.[0];
    if (line === undefined) throw new Error(`tailscale ping --${kind} ${target}: ${`${stdout} ${stderr}`.trim()}`);
    return line;
  }

  async down(): Promise<void> {
    await this.command(['down']);
  }

  async logout(): Promise<void> {
    await this.command(['logout']);
  }

  /** A signal to tailscaled alone, such as SIGSTOP. */
  signal(name: NodeJS.Signals): void {
    this.#daemon?.signal(name);
  }

  /** SIGTERM; the state stays. */
  async stop(): Promise<void> {
    await this.#daemon?.stop(5000);
    this.#daemon = undefined;
  }

  /** SIGKILL, and started again with the same state. */
  async restart(): Promise<void> {
    this.#daemon?.signal('SIGKILL');
    await this.#daemon?.ended;
    await this.start();
  }

  /** What tailscaled wrote so far. */
  log(): string {
    return this.#daemon?.stderr ?? '';
  }

  /** Its version and its own status output in one line, as evidence. */
  async evidence(): Promise<string> {
    const { stdout } = await this.command(['status'], { mayFail: true });
    const lines = stdout.split('\n').filter(line => /^\S/.test(line) && !line.startsWith('#'));
    const shown = lines.map(line => line.trim().replace(/\s+/g, ' ')).join('; ');
    return `tailscaled ${this.version} ${this.name}: ${shown === '' ? stdout.trim() : shown}`;
  }

  /** Runs the stock `tailscale` command. */
  command(args: readonly string[], o: { mayFail?: boolean; timeoutMs?: number } = {}): Promise<Finished> {
    return this.lab.run(this.party.space, [...this.#cli(), ...args], { env: this.#env(), ...o });
  }

  #cli(): string[] {
    return [stockProgram(this.build, 'tailscale'), `--socket=${this.#socket}`];
  }

  get #socket(): string {
    return join(this.#folder, 'sock');
  }

  #env(): Record<string, string> {
    return {
      HOME: this.#folder,
      XDG_CACHE_HOME: this.#folder,
      TS_LOGS_DIR: this.#folder,
      TS_NO_LOGS_NO_SUPPORT: 'true',
      SSL_CERT_FILE: this.net.caFile,
      SSL_CERT_DIR: '/nonexistent',
    };
  }
}
