/**
 * A stock WireGuard peer: wireguard-go in a namespace, set up with `wg` and `ip`, and its own counters as evidence.
 */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until, type Lab, type Namespace, type Program } from './lab.ts';
import { newestWireguardGo } from './programs.ts';

/** Stands for the file with the secret. */
const KEY = '{key}';

/** What `wg show IF dump` says about the one peer. Bytes are of whole datagrams as WireGuard counts them. */
export interface StockCounters {
  readonly endpoint: string | undefined;
  /** Seconds since 1970; 0 for never. */
  readonly latestHandshake: number;
  readonly rx: number;
  readonly tx: number;
}

/** One peer entry, in the words of `wg set`. */
export interface StockPeerEntry {
  readonly publicKey: string;
  readonly presharedKey?: string | undefined;
  readonly endpoint?: string | undefined;
  readonly allowedIPs: readonly string[];
  /** Seconds; 0 is off. */
  readonly persistentKeepalive?: number | undefined;
}

/** How a stock peer is set up. */
export interface StockOptions {
  readonly privateKey: string;
  readonly listenPort: number;
  /** Inner addresses with prefix length. */
  readonly addresses: readonly string[];
  readonly mtu?: number | undefined;
  /** Path of the binary; the newest one by default. */
  readonly binary?: string | undefined;
  /** Has the program write what it does; for the report of a failed case. */
  readonly isVerbose?: boolean | undefined;
}

/** A WireGuard key pair as base64 text. */
export interface KeyPair {
  readonly privateKey: string;
  readonly publicKey: string;
}

/** Makes a key pair with `wg`. */
export async function makeKeys(lab: Lab): Promise<KeyPair> {
  const privateKey = (await lab.run(undefined, ['wg', 'genkey'])).stdout.trim();
  return { privateKey, publicKey: await publicKeyOf(lab, privateKey) };
}

/** The public key that `wg` derives. */
export async function publicKeyOf(lab: Lab, privateKey: string): Promise<string> {
  return (await lab.run(undefined, ['wg', 'pubkey'], { input: `${privateKey}\n` })).stdout.trim();
}

/** A wireguard-go interface with one peer. */
export class StockPeer {
  readonly lab: Lab;
  readonly space: Namespace;
  readonly device: string;
  readonly options: StockOptions;
  #program: Program | undefined;
  #entry: StockPeerEntry | undefined;

  constructor(space: Namespace, options: StockOptions) {
    this.lab = space.lab;
    this.space = space;
    this.options = options;
    this.device = this.lab.uniqueName('g');
  }

  /** Starts wireguard-go, sets key, port, addresses, and the peer if one was set before (a restart). */
  async start(): Promise<void> {
    const binary = this.options.binary ?? newestWireguardGo();
    if (binary === undefined) throw new Error('wireguard-go is not installed');
    const socket = `/var/run/wireguard/${this.device}.sock`;
    this.lab.removeLater(socket);
    const env = { WG_PROCESS_FOREGROUND: '1', LOG_LEVEL: this.options.isVerbose === true ? 'verbose' : 'error' };
    const program = this.lab.start(this.space, [binary, '-f', this.device], { env, name: 'wireguard-go' });
    this.#program = program;
    await until('wireguard-go listens on its control socket', 10_000, () => {
      if (!program.isRunning) throw new Error(`wireguard-go ended: ${program.tail()}`);
      return existsSync(socket);
    });
    const { privateKey, listenPort, mtu, addresses } = this.options;
    await this.#wg(['private-key', KEY, 'listen-port', `${listenPort}`], privateKey);
    await this.space.ip('link', 'set', this.device, 'mtu', `${mtu ?? 1420}`);
    for (const address of addresses) await this.space.addAddress(this.device, address);
    await this.space.ip('link', 'set', this.device, 'up');
    if (this.#entry !== undefined) await this.setPeer(this.#entry);
  }

  /** Adds or changes the peer. */
  async setPeer(entry: StockPeerEntry): Promise<void> {
    this.#entry = entry;
    const args = ['peer', entry.publicKey, 'allowed-ips', entry.allowedIPs.join(',')];
    if (entry.endpoint !== undefined) args.push('endpoint', entry.endpoint);
    args.push('persistent-keepalive', `${entry.persistentKeepalive ?? 0}`);
    args.push('preshared-key', KEY);
    await this.#wg(args, entry.presharedKey ?? '');
  }

  /** Ends the program and starts it again with the same configuration, as after a crash. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Ends the program; the interface goes with it. */
  async stop(): Promise<void> {
    await this.#program?.stop();
    this.#program = undefined;
  }

  /** The peer's own counters. */
  async counters(): Promise<StockCounters> {
    const { stdout } = await this.lab.run(this.space, ['wg', 'show', this.device, 'dump']);
    const fields = stdout.trim().split('\n')[1]?.split('\t');
    if (fields === undefined) throw new Error(`wg shows no peer: ${stdout}`);
    return {
      endpoint: fields[2] === '(none)' ? undefined : fields[2],
      latestHandshake: Number(fields[4]),
      rx: Number(fields[5]),
      tx: Number(fields[6]),
    };
  }

  /** The counters as evidence: `peer: handshake 2 s ago, rx 1,234 B, tx 5,678 B, endpoint 10.9.0.2:51820`. */
  async evidence(): Promise<string> {
    const { latestHandshake, rx, tx, endpoint } = await this.counters();
    const age = Math.max(0, Math.round(Date.now() / 1000 - latestHandshake));
    const handshake = latestHandshake === 0 ? 'no handshake' : `handshake ${age} s ago`;
    return `peer: ${handshake}, rx ${count(rx)} B, tx ${count(tx)} B, endpoint ${endpoint ?? 'none'}`;
  }

  /** `wg set`, the secret in a file: what follows `KEY` in `args`. (Node's pipes are sockets, /dev/stdin cannot open them.) */
  async #wg(args: readonly string[], secret: string): Promise<void> {
    const file = join(this.lab.directory(), 'key');
    writeFileSync(file, secret === '' ? '' : `${secret}\n`, { mode: 0o600 });
    await this.lab.run(this.space, ['wg', 'set', this.device, ...args.map(arg => (arg === KEY ? file : arg))]);
    rmSync(file);
  }
}

/** A number with thousands separators. */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}
