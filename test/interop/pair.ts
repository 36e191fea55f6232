/**
 * Two ends of one tunnel in two namespaces: the near end is a mote (in a control run stock WireGuard and the kernel), the
 * far end is stock WireGuard with the kernel's sockets behind it. Between them lies a cable, or two cables and a userspace
 * hop.
 *
 * Addresses: outside 10.9.0.0/24 and fd09::/64 on the cable (near .2, far .1); with a hop 10.9.1.0/24 on the near and
 * 10.9.2.0/24 on the far side (hop .254). Inside 10.66.0.2 and fd66::2 (near), 10.66.0.1 and fd66::1 (far).
 */
import { randomBytes } from 'node:crypto';
import type { LinkOptions } from './hop.ts';
import { type Json, Remote } from './json-lines.ts';
import type { Lab, Namespace } from './lab.ts';
import { type KeyPair, makeKeys, type StockOptions, StockPeer } from './stock.ts';

/** What is behind the near end; `none` leaves it to the case, with a plain program in the namespace. */
export type Ends = 'mote' | 'stock' | 'none';

/** Inner addresses. */
export const NEAR = Object.freeze({ v4: '10.66.0.2', v6: 'fd66::2' });
export const FAR = Object.freeze({ v4: '10.66.0.1', v6: 'fd66::1' });
/** UDP port of both WireGuards. */
export const WG_PORT = 51820;

/** How a pair is made. */
export interface PairOptions {
  /** IP version outside; 4 by default. */
  readonly outer?: 4 | 6;
  /** Who is told the other's endpoint, and so can start; both by default. */
  readonly initiator?: 'near' | 'far' | 'both';
  readonly hasPsk?: boolean;
  /** Puts a hop between the ends. */
  readonly hop?: { readonly toNear?: LinkOptions; readonly toFar?: LinkOptions; readonly seed?: number };
  readonly nearKeepaliveMs?: number;
  readonly farKeepalive?: number;
  readonly mtu?: number;
  /** Path of another wireguard-go. */
  readonly binary?: string;
  /** More options for `up()` at the near end. */
  readonly moteExtras?: Json;
  /** Has both stock ends say what they do. */
  readonly isVerbose?: boolean;
}

/** What both kinds of near end can say of their one peer. */
export interface NearStatus {
  readonly endpoint: string | undefined;
  /** Milliseconds since 1970; 0 for never. */
  readonly lastHandshakeMs: number;
  readonly rx: number;
  readonly tx: number;
  /** Drops by reason; empty for a stock end. */
  readonly drops: Record<string, number>;
}

/** Addresses outside. */
export interface Underlay {
  readonly nearDevice: string;
  readonly farDevice: string;
  /** Where each end's WireGuard is reached by the other (the hop's sockets when there is one). */
  readonly nearEndpoint: string;
  readonly farEndpoint: string;
  readonly nearAddress: string;
  readonly farAddress: string;
}

/** One tunnel under test. */
export class Pair {
  readonly lab: Lab;
  readonly ends: Ends;
  readonly options: PairOptions;
  readonly nearSpace: Namespace;
  readonly farSpace: Namespace;
  readonly hopSpace: Namespace | undefined;
  readonly underlay: Underlay;
  readonly nearKeys: KeyPair;
  readonly farKeys: KeyPair;
  readonly psk: string | undefined;
  /** Stock WireGuard at the far end: its counters are the evidence. */
  readonly far: StockPeer;
  /** The kernel's sockets behind the far end. */
  readonly kernel: Remote;
  readonly hop: Remote | undefined;
  /** The program at the near end; a new one after `restartNear`. */
  near: Remote;
  readonly #nearStock: StockPeer | undefined;

  constructor(made: {
    lab: Lab;
    ends: Ends;
    options: PairOptions;
    spaces: { near: Namespace; far: Namespace; hop: Namespace | undefined };
    underlay: Underlay;
    keys: { near: KeyPair; far: KeyPair; psk: string | undefined };
    hop: Remote | undefined;
  }) {
    this.lab = made.lab;
    this.ends = made.ends;
    this.options = made.options;
    this.nearSpace = made.spaces.near;
    this.farSpace = made.spaces.far;
    this.hopSpace = made.spaces.hop;
    this.underlay = made.underlay;
    this.nearKeys = made.keys.near;
    this.farKeys = made.keys.far;
    this.psk = made.keys.psk;
    this.hop = made.hop;
    this.far = new StockPeer(this.farSpace, this.#stockOptions(this.farKeys, FAR));
    this.#nearStock =
      this.ends === 'stock' ? new StockPeer(this.nearSpace, this.#stockOptions(this.nearKeys, NEAR)) : undefined;
    this.kernel = new Remote(this.lab, this.farSpace, 'kernel-peer.ts', ['--expose-gc']);
    this.near = this.#startNearProgram();
  }

  #stockOptions(keys: KeyPair, inner: { v4: string; v6: string }): StockOptions {
    const { mtu, binary, isVerbose } = this.options;
    const addresses = [`${inner.v4}/24`, `${inner.v6}/64`];
    return { privateKey: keys.privateKey, listenPort: WG_PORT, addresses, mtu, binary, isVerbose };
  }

  #startNearProgram(): Remote {
    const file = this.ends === 'mote' ? 'mote-peer.ts' : 'kernel-peer.ts';
    return new Remote(this.lab, this.nearSpace, file, ['--expose-gc']);
  }

  /** Sets up both ends. */
  async open(): Promise<void> {
    const { initiator = 'both', farKeepalive } = this.options;
    await Promise.all([this.far.start(), this.kernel.call('open'), this.#nearStock?.start()]);
    await this.far.setPeer({
      publicKey: this.nearKeys.publicKey,
      presharedKey: this.psk,
      endpoint: initiator === 'near' ? undefined : this.underlay.nearEndpoint,
      allowedIPs: [`${NEAR.v4}/32`, `${NEAR.v6}/128`],
      persistentKeepalive: farKeepalive,
    });
    await this.#openNear();
  }

  async #openNear(extras: Json = {}): Promise<void> {
    const { nearKeepaliveMs = 0 } = this.options;
    if (this.ends === 'mote') {
      await this.near.call('open', { ...this.moteOptions(), ...this.options.moteExtras, ...extras });
      return;
    }
    await this.near.call('open');
    await this.#nearStock?.setPeer({
      ...this.nearPeer(),
      allowedIPs: [`${FAR.v4}/32`, `${FAR.v6}/128`],
      persistentKeepalive: Math.ceil(nearKeepaliveMs / 1000),
    });
  }

  /** What the near end is told of the far one, allowed IPs left out. */
  nearPeer(): { publicKey: string; presharedKey: string | undefined; endpoint: string | undefined } {
    const endpoint = this.options.initiator === 'far' ? undefined : this.underlay.farEndpoint;
    return { publicKey: this.farKeys.publicKey, presharedKey: this.psk, endpoint };
  }

  /** The options of `up()` for this pair. */
  moteOptions(): Json {
    return {
      privateKey: this.nearKeys.privateKey,
      addresses: [`${NEAR.v4}/24`, `${NEAR.v6}/64`],
      listenPort: WG_PORT,
      mtu: this.options.mtu ?? 1420,
      peers: [
        {
          ...this.nearPeer(),
          allowedIPs: [`${FAR.v4}/32`, `${FAR.v6}/128`],
          persistentKeepaliveMs: this.options.nearKeepaliveMs ?? 0,
        },
      ],
    };
  }

  /** The same as a wg-quick file. */
  configFile(): string {
    const { publicKey, presharedKey, endpoint } = this.nearPeer();
    const lines = [
      '[Interface]',
      `PrivateKey = ${this.nearKeys.privateKey}`,
      `Address = ${NEAR.v4}/24, ${NEAR.v6}/64`,
      `ListenPort = ${WG_PORT}`,
      '[Peer]',
      `PublicKey = ${publicKey}`,
      `AllowedIPs = ${FAR.v4}/32, ${FAR.v6}/128`,
    ];
    if (presharedKey !== undefined) lines.push(`PresharedKey = ${presharedKey}`);
    if (endpoint !== undefined) lines.push(`Endpoint = ${endpoint}`);
    return `${lines.join('\n')}\n`;
  }

  /** Kills the near end without a farewell and starts it again with the same keys; `extras` are options for `up()`. */
  async restartNear(extras: Json = {}): Promise<void> {
    this.near.program.signal('SIGKILL');
    await this.near.program.ended;
    if (this.#nearStock !== undefined) await this.#nearStock.restart();
    this.near = this.#startNearProgram();
    await this.#openNear(extras);
  }

  /** Ends both ends' programs before the lab does. */
  async close(): Promise<void> {
    const programs = [this.near.program, this.kernel.program, ...(this.hop === undefined ? [] : [this.hop.program])];
    await Promise.all([...programs.map(program => program.stop()), this.far.stop(), this.#nearStock?.stop()]);
  }

  /** Changes the near end's PSK while it runs; undefined takes it away. */
  async setNearPsk(presharedKey: string | undefined): Promise<void> {
    if (this.ends === 'mote') {
      const args = { publicKey: this.farKeys.publicKey, changes: { presharedKey } };
      await this.near.call('change', { action: 'updatePeer', args });
      return;
    }
    const allowedIPs = [`${FAR.v4}/32`, `${FAR.v6}/128`];
    await this.#nearStock?.setPeer({ ...this.nearPeer(), presharedKey, allowedIPs });
  }

  /** What the near end knows of the far one. */
  async nearStatus(): Promise<NearStatus> {
    if (this.#nearStock !== undefined) {
      const { endpoint, latestHandshake, rx, tx } = await this.#nearStock.counters();
      return { endpoint, lastHandshakeMs: latestHandshake * 1000, rx, tx, drops: {} };
    }
    const { status } = await this.near.call('status');
    const [peer] = status.peers;
    return {
      endpoint: peer.endpoint,
      lastHandshakeMs: peer.lastHandshakeUnixMs ?? 0,
      rx: peer.rxBytes,
      tx: peer.txBytes,
      drops: status.drops,
    };
  }

  /** Both directions of the hop's counters. */
  async hopStats(): Promise<{ toNear: Record<string, number>; toFar: Record<string, number> }> {
    const { toA, toB } = await this.hop!.call('stats');
    return { toNear: toA, toFar: toB };
  }
}

/** Makes namespaces, cables, the hop and both ends, and opens them. */
export async function makePair(lab: Lab, ends: Ends, options: PairOptions = {}): Promise<Pair> {
  const near = await lab.namespace('near');
  const far = await lab.namespace('far');
  const hopSpace = options.hop === undefined ? undefined : await lab.namespace('hop');
  const version = options.outer ?? 4;
  const { underlay, hop } =
    hopSpace === undefined
      ? { underlay: await layCable(lab, near, far, version), hop: undefined }
      : await layHop(lab, { near, far, hop: hopSpace }, version, options.hop!);
  const psk = options.hasPsk === true ? randomBytes(32).toString('base64') : undefined;
  const keys = { near: await makeKeys(lab), far: await makeKeys(lab), psk };
  const pair = new Pair({ lab, ends, options, spaces: { near, far, hop: hopSpace }, underlay, keys, hop });
  await pair.open();
  return pair;
}

async function layCable(lab: Lab, near: Namespace, far: Namespace, version: 4 | 6): Promise<Underlay> {
  const addresses = { left: ['10.9.0.2/24', 'fd09::2/64'], right: ['10.9.0.1/24', 'fd09::1/64'] };
  const cable = await lab.cable(near, far, addresses);
  return {
    nearDevice: cable.left,
    farDevice: cable.right,
    nearAddress: version === 4 ? '10.9.0.2' : 'fd09::2',
    farAddress: version === 4 ? '10.9.0.1' : 'fd09::1',
    nearEndpoint: version === 4 ? `10.9.0.2:${WG_PORT}` : `[fd09::2]:${WG_PORT}`,
    farEndpoint: version === 4 ? `10.9.0.1:${WG_PORT}` : `[fd09::1]:${WG_PORT}`,
  };
}

async function layHop(
  lab: Lab,
  spaces: { near: Namespace; far: Namespace; hop: Namespace },
  version: 4 | 6,
  links: NonNullable<PairOptions['hop']>,
): Promise<{ underlay: Underlay; hop: Remote }> {
  const nearCable = await lab.cable(spaces.near, spaces.hop, {
    left: ['10.9.1.2/24', 'fd09:1::2/64'],
    right: ['10.9.1.254/24', '10.9.1.253/24', 'fd09:1::fe/64', 'fd09:1::fd/64'],
  });
  const farCable = await lab.cable(spaces.hop, spaces.far, {
    left: ['10.9.2.254/24', '10.9.2.253/24', 'fd09:2::fe/64', 'fd09:2::fd/64'],
    right: ['10.9.2.1/24', 'fd09:2::1/64'],
  });
  const hop = new Remote(lab, spaces.hop, 'hop.ts');
  const [onNear, onFar] = version === 4 ? ['10.9.1.254', '10.9.2.254'] : ['fd09:1::fe', 'fd09:2::fe'];
  const [nearAddress, farAddress] = version === 4 ? ['10.9.1.2', '10.9.2.1'] : ['fd09:1::2', 'fd09:2::1'];
  await hop.call('seed', { seed: links.seed ?? 1 });
  await hop.call('bind', { side: 'a', address: onNear, port: WG_PORT });
  await hop.call('bind', { side: 'b', address: onFar, port: WG_PORT });
  await hop.call('aim', { side: 'a', to: { address: nearAddress, port: WG_PORT } });
  await hop.call('aim', { side: 'b', to: { address: farAddress, port: WG_PORT } });
  await hop.call('link', { side: 'a', link: links.toNear ?? {} });
  await hop.call('link', { side: 'b', link: links.toFar ?? {} });
  const text = (address: string) => (version === 4 ? `${address}:${WG_PORT}` : `[${address}]:${WG_PORT}`);
  const underlay = {
    nearDevice: nearCable.left,
    farDevice: farCable.right,
    nearAddress: nearAddress!,
    farAddress: farAddress!,
    nearEndpoint: text(onFar!),
    farEndpoint: text(onNear!),
  };
  return { underlay, hop };
}
