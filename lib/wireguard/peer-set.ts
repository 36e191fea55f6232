/**
 * The peers of a tunnel as its user sees them: added, changed, removed, looked at. What a change means for a peer in
 * use is in peer.ts.
 */
import { expectChanges, expectKey } from './peer-config.ts';
import type { TunnelState } from './tunnel-state.ts';
import type { PeerChanges, PeerConfig, PeerStatus } from './types.ts';

/** The set of peers of one tunnel; the methods are those of the tunnel. */
export class PeerSet {
  readonly #state: TunnelState;
  readonly #ownKey: Uint8Array;

  constructor(state: TunnelState, ownKey: Uint8Array) {
    this.#state = state;
    this.#ownKey = ownKey;
  }

  /** Adds a peer and returns its id. TypeError or RangeError for a configuration that cannot be. */
  add(nowMs: number, config: PeerConfig): number {
    const { publicKey } = config;
    const { table, limits } = this.#state;
    expectKey('publicKey', publicKey);
    expectChanges(config);
    if (config.allowedIPs === undefined) throw new TypeError('"allowedIPs" expected an array, got undefined');
    if (publicKey.every((byte, i) => byte === this.#ownKey[i]))
      throw new RangeError('"publicKey" expected the key of another machine, got our own');
    if (table.find(publicKey) >= 0)
      throw new RangeError('"publicKey" expected a new peer, got one that is there already');
    if (table.size >= limits.peers) throw new RangeError(`expected at most ${limits.peers} peers`);
    const id = table.add(publicKey);
    table.setRoams(id, config.roams ?? true);
    this.#apply(nowMs, id, config);
    return id;
  }

  /** Changes a peer; what is absent stays. */
  update(nowMs: number, id: number, changes: PeerChanges): void {
    this.expect(id);
    expectChanges(changes);
    if (changes.roams !== undefined) this.#state.table.setRoams(id, changes.roams);
    if (changes.allowedIPs !== undefined) this.#state.allowedIps.removePeer(id);
    this.#apply(nowMs, id, changes);
  }

  /** Removes a peer and erases its keys. */
  remove(id: number): void {
    this.expect(id);
    const peer = this.#state.active(id);
    if (peer !== undefined) this.#state.release(peer);
    this.#state.forgetEvents(id);
    this.#state.allowedIps.removePeer(id);
    this.#state.table.remove(id);
  }

  /** All ids, ascending. */
  *ids(): IterableIterator<number> {
    const { table } = this.#state;
    for (let id = 0; id < table.rows; id++) if (table.has(id)) yield id;
  }

  /** What is known of a peer, as copies. */
  status(id: number): PeerStatus {
    this.expect(id);
    const { table, allowedIps, nowMs } = this.#state;
    const peer = this.#state.active(id);
    const handshakeUnixMs = table.handshakeUnixMs(id);
    return {
      publicKey: table.publicKey(id),
      hasPresharedKey: table.hasPresharedKey(id),
      endpoint: table.endpoints[id],
      allowedIPs: allowedIps.list(id),
      persistentKeepaliveMs: table.keepaliveMs(id),
      roams: table.roams(id),
      lastHandshakeUnixMs: handshakeUnixMs > 0 ? handshakeUnixMs : undefined,
      rxBytes: table.rxBytes(id),
      txBytes: table.txBytes(id),
      hasSession: peer?.usableSession(nowMs) !== undefined,
      isHandshaking: peer?.pending !== undefined || peer?.wantsInitiation === true,
      stagedPackets: peer?.stagedCount ?? 0,
    };
  }

  /** RangeError unless there is a peer with the id. */
  expect(id: number): void {
    if (!this.#state.table.has(id)) throw new RangeError(`"id" expected a peer, got ${id}`);
  }

  #apply(nowMs: number, id: number, changes: PeerChanges): void {
    const { table, allowedIps } = this.#state;
    if ('presharedKey' in changes) table.setPresharedKey(id, changes.presharedKey);
    if ('endpoint' in changes) table.endpoints[id] = changes.endpoint;
    for (const prefix of changes.allowedIPs ?? []) allowedIps.insert(prefix, id);
    const intervalMs = changes.persistentKeepaliveMs;
    if (intervalMs === undefined || intervalMs === table.keepaliveMs(id)) return;
    table.setKeepaliveMs(id, intervalMs);
    const peer = this.#state.activate(id);
    peer.startPersistent(nowMs);
    this.#state.releaseIfQuiet(peer);
  }
}
