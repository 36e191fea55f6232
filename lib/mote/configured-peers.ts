/**
 * The peers that a mote was configured with: their keys, prefixes and endpoints, names of which are looked up and kept
 * up to date.
 */
import { fromBase64 } from '../base/bytes.ts';
import type { NetError } from '../base/errors.ts';
import type { Device } from '../device/device.ts';
import type { Driver } from '../driver.ts';
import type { Host } from '../ports.ts';
import { EndpointKeeper } from './endpoint-keeper.ts';
import { checkAllowedIPs, checkEndpoint, integer, key, type PeerOptions, type PeerSettings } from './options.ts';

/** What is needed of the mote. */
export interface ConfiguredPeersContext {
  readonly device: Device;
  readonly driver: Driver;
  readonly host: Pick<Host, 'resolve'>;
  delay(ms: number, run: () => void): () => void;
  failed(error: NetError): void;
}

/** Configured peers of one mote. */
export class ConfiguredPeers {
  readonly #context: ConfiguredPeersContext;
  readonly #endpoints: EndpointKeeper;

  constructor(context: ConfiguredPeersContext) {
    this.#context = context;
    this.#endpoints = new EndpointKeeper({
      resolve: name => context.host.resolve(name),
      delay: (ms, run) => context.delay(ms, run),
      found: (id, endpoint) => {
        context.device.tunnel.updatePeer(context.driver.nowMs(), id, { endpoint });
        context.driver.kick();
      },
      failed: error => context.failed(error),
    });
  }

  /** Adds a peer. Throws RangeError for a duplicate. */
  add(peer: PeerSettings): void {
    const { device, driver } = this.#context;
    const id = device.tunnel.addPeer(driver.nowMs(), {
      publicKey: peer.publicKey,
      allowedIPs: peer.allowedIPs,
      persistentKeepaliveMs: peer.persistentKeepaliveMs,
      ...(peer.presharedKey === undefined ? {} : { presharedKey: peer.presharedKey }),
    });
    // The tunnel has its own copy, which goes with the peer.
    peer.presharedKey?.fill(0);
    if (peer.endpoint !== undefined) this.#endpoints.add(id, peer.endpoint);
    driver.kick();
  }

  /** Changes a peer; what is absent stays. Throws RangeError when there is none with this key, or for a mistake. */
  update(publicKey: string, changes: Partial<Omit<PeerOptions, 'publicKey'>>): void {
    const { device, driver } = this.#context;
    const id = this.#peerId(publicKey);
    const endpoint = changes.endpoint === undefined ? undefined : checkEndpoint(changes.endpoint);
    device.tunnel.updatePeer(driver.nowMs(), id, {
      ...(changes.presharedKey === undefined ? {} : { presharedKey: key(changes.presharedKey, 'presharedKey') }),
      ...(changes.allowedIPs === undefined ? {} : { allowedIPs: checkAllowedIPs(changes.allowedIPs) }),
      ...(changes.persistentKeepaliveMs === undefined
        ? {}
        : { persistentKeepaliveMs: integer(changes.persistentKeepaliveMs, 'persistentKeepaliveMs', 0, 65_535_000) }),
    });
    if (endpoint !== undefined) this.#endpoints.add(id, endpoint);
    driver.kick();
  }

  /** Removes a peer and erases its keys. Throws RangeError when there is none with this key. */
  remove(publicKey: string): void {
    const { device, driver } = this.#context;
    const id = this.#peerId(publicKey);
    this.#endpoints.remove(id);
    device.removePeer(driver.nowMs(), id);
    driver.kick();
  }

  /** A peer stopped answering: its name is looked up again. */
  refresh(id: number): void {
    this.#endpoints.refresh(id);
  }

  /** No more look-ups. */
  close(): void {
    this.#endpoints.close();
  }

  #peerId(publicKey: string): number {
    const bytes = fromBase64(publicKey);
    const id = bytes?.length === 32 ? this.#context.device.tunnel.findPeer(bytes) : undefined;
    if (id === undefined)
      throw new RangeError(`"publicKey" expected the key of a peer, got '${publicKey.slice(0, 44)}'`);
    return id;
  }
}
