/**
 * Putting a server together, and taking it apart: folder, keys, listeners, STUN, relay, coordinator, administration.
 *
 * Without a certificate the relay gets a TLS listener of its own, whose self-signed certificate is pinned in what clients
 * are told. All listeners answer everything: a client that insists on TLS finds the control protocol there too.
 */
import { join } from 'node:path';
import type { AdminCommand, AdminOutcome } from '../../lib/coordinator/commands.ts';
import { Coordinator } from '../../lib/coordinator/coordinator.ts';
import type { SecretKey } from '../../lib/crypto/keys.ts';
import { selectSuite } from '../../lib/crypto/select.ts';
import { createWasmSuite } from '../../lib/crypto/wasm.ts';
import type { WireDerpMap } from '../../lib/derp/map.ts';
import type { Store as ValueStore } from '../../lib/ports.ts';
import { host } from '../node/host.ts';
import type { AdminOptions } from './admin.ts';
import { LargeBodies } from './admin-body.ts';
import { openAdminSocket } from './admin-socket.ts';
import { ControlHost } from './control-host.ts';
import { CoordinatorHost } from './coordinator-host.ts';
import { ADMIN_SOCKET_NAME, openDataDir } from './data-dir.ts';
import { ownDerpMap } from './derp-map.ts';
import { HttpFront } from './http-front.ts';
import { type CertifiedKey, certificateDigest, keyStore, loadCertificate, loadKey } from './keys.ts';
import { PolicyFiles } from './policy-file.ts';
import { RelayHost } from './relay-host.ts';
import { createRoutes, type RouteTargets } from './routes.ts';
import { SourceGate } from './source-gate.ts';
import type { Store } from './store.ts';
import { openStun, type StunHost } from './stun-host.ts';
import {
  type Actor,
  type AdminContext,
  type PolicyFileStatus,
  SERVER_LIMITS,
  type Server,
  type ServerLimits,
  type ServerOptions,
  type ServerStatus,
} from './types.ts';
import { parseServerUrl, type ServerUrl, urlOfListener, urlWarnings } from './url.ts';

const RELAY_PORT = 8443;
const STUN_PORT = 3478;

/**
 * Starts a server. Rejects with NetError (`ERR_STORE`: the data folder cannot be used, or another process has it;
 * `ERR_ADDRESS_IN_USE`, …) and with RangeError for options that cannot work.
 */
export async function startServer(options: ServerOptions): Promise<Server> {
  const url = options.url === undefined ? undefined : parseServerUrl(options.url);
  if (url !== undefined && !url.isTls && options.tls !== undefined)
    throw new RangeError(`"url" expected https:// with a certificate, got ${JSON.stringify(options.url)}`);
  const running = new RunningServer(options);
  try {
    await running.start(url);
    return running;
  } catch (error) {
    await running.close();
    throw error;
  }
}

/** See {@link startServer}. What was opened is in `#closers`, so that a start that fails half-way leaves nothing. */
class RunningServer implements Server {
  url = '';
  address = { host: '', port: 0 };
  stunPort: number | undefined = undefined;
  relayPort: number | undefined = undefined;
  warnings: readonly string[] = [];
  readonly failed: Promise<Error>;
  #tellFailure: (error: Error) => void = () => undefined;
  readonly #options: ServerOptions;
  readonly #limits: ServerLimits;
  readonly #suite = selectSuite([createWasmSuite]);
  readonly #startedMs = host.clock.nowMs();
  readonly #gate: SourceGate;
  readonly #policyFiles: PolicyFiles;
  readonly #largeBodies = new LargeBodies();
  /** Run in reverse. */
  readonly #closers: (() => void | Promise<void>)[] = [];
  #closing: Promise<void> | undefined;
  #targets: RouteTargets | undefined;
  #store!: Store;
  #coordinator!: CoordinatorHost;
  #relay!: RelayHost;
  #stun: StunHost | undefined;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#limits = { ...SERVER_LIMITS, ...options.limits };
    this.#gate = new SourceGate(this.#limits);
    this.#policyFiles = new PolicyFiles({
      files: options.policies ?? [],
      command: (actor, command) => this.command(actor, command),
      unixMs: () => host.clock.unixMs(),
      log: options.log,
    });
    this.failed = new Promise(resolve => {
      this.#tellFailure = resolve;
    });
  }

  /** The rest of `startServer`. The store comes first: it is the lock of everything else in the folder. */
  async start(given: ServerUrl | undefined): Promise<void> {
    const { dataDir, listen, tls, log, derpMap } = this.#options;
    const { store, warnings } = openDataDir(dataDir);
    this.#store = store;
    this.#closers.push(() => store.close());
    const keys = keyStore(dataDir);
    const controlKey = loadKey(keys, 'control-key', host.random);
    const relayKey = loadKey(keys, 'relay-key', host.random);
    this.address = { host: listen.host, port: await this.#listen(tls, listen.port) };
    const url = given ?? urlOfListener(listen.host, this.address.port, tls !== undefined);
    this.url = url.text;
    await this.#openStun();
    const map = derpMap ?? (await this.#openRelayListener(keys, url));
    this.#startMachines(map, relayKey);
    await this.#policyFiles.start(); // before anybody is answered
    this.#openRoutes(controlKey, map);
    await this.#openAdminSocket();
    this.warnings = [...warnings, ...urlWarnings(url, tls !== undefined)];
    for (const warning of this.warnings) log('warn', warning);
    const { stunPort, relayPort } = this;
    log('info', `clients reach this coordinator at ${url.text}`, {
      port: this.address.port,
      ...(stunPort === undefined ? {} : { stunPort }),
      ...(relayPort === undefined ? {} : { relayPort }),
    });
  }

  command(actor: Actor, command: AdminCommand): Promise<AdminOutcome> {
    return this.#coordinator.command(actor, command);
  }

  readPolicies(): Promise<readonly PolicyFileStatus[]> {
    return this.#policyFiles.read();
  }

  status(): ServerStatus {
    const { answered = 0, rateLimited = 0, malformed = 0 } = this.#stun?.counters ?? {};
    const { transactions, commits } = this.#store;
    return {
      url: this.url,
      uptimeMs: Math.floor(host.clock.nowMs() - this.#startedMs),
      connections: this.#gate.connections,
      strangers: this.#gate.strangers,
      controlSessions: this.#targets?.control.sessions ?? 0,
      refused: this.#gate.refused,
      relay: this.#relay.status(),
      stun: { answered, rateLimited, malformed },
      store: { transactions, commits },
      coordinator: this.#coordinator.status(),
      warnings: this.warnings,
      policyFiles: this.#policyFiles.status,
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  async #closeAll(): Promise<void> {
    this.#targets = undefined;
    for (let close = this.#closers.pop(); close !== undefined; close = this.#closers.pop()) await close();
  }

  async #listen(tls: CertifiedKey | undefined, port: number): Promise<number> {
    const handlers = createRoutes(() => this.#targets);
    const front = new HttpFront({ clock: host.clock, gate: this.#gate, limits: this.#limits, tls, handlers });
    const bound = await front.listen(this.#options.listen.host, port);
    this.#closers.push(() => front.close());
    return bound;
  }

  async #openStun(): Promise<void> {
    const { listen, stunPort = STUN_PORT } = this.#options;
    if (stunPort < 0) return;
    const stun = await openStun(host, listen.host, stunPort);
    this.#closers.push(() => stun.close());
    this.#stun = stun;
    this.stunPort = stun.port;
  }

  /** Makes the relay reachable over TLS; says how. */
  async #openRelayListener(keys: ValueStore, url: ServerUrl): Promise<WireDerpMap> {
    const { listen, tls, relayPort = listen.port === 0 ? 0 : RELAY_PORT } = this.#options;
    const { stunPort } = this;
    if (tls !== undefined) return ownDerpMap({ host: url.host, port: url.port, digest: undefined, stunPort });
    const certified = await loadCertificate(keys, url.host, host.clock.unixMs());
    this.relayPort = await this.#listen(certified, relayPort);
    const digest = certificateDigest(certified.cert);
    return ownDerpMap({ host: url.host, port: this.relayPort, digest, stunPort });
  }

  #startMachines(derpMap: WireDerpMap, relayKey: SecretKey): void {
    const { log } = this.#options;
    const { clock, random } = host;
    const relay = new RelayHost({
      host,
      suite: this.#suite,
      privateKey: relayKey,
      limits: this.#limits.relay,
      tailnetOf: nodeKey => this.#coordinator.tailnetOfNode(nodeKey),
      log,
    });
    this.#relay = relay;
    const coordinator = new Coordinator({
      nowMs: clock.nowMs(),
      unixMs: clock.unixMs(),
      random,
      suite: this.#suite,
      settings: { url: this.url, derpMap },
      records: this.#store.load(),
      lastCommit: this.#store.lastCommit,
    });
    this.#coordinator = new CoordinatorHost({
      host,
      coordinator,
      store: this.#store,
      log,
      onRelayDisconnect: (tailnet, nodeKey) => relay.disconnect(tailnet, nodeKey),
      onFailure: error => {
        relay.close();
        this.#tellFailure(error);
      },
    });
    this.#closers.push(() => this.#coordinator.close());
    this.#closers.push(() => relay.close());
  }

  #openRoutes(privateKey: SecretKey, derpMap: WireDerpMap): void {
    const publicKey = new Uint8Array(32);
    this.#suite.publicKey(publicKey, privateKey.bytes);
    const { clock, random } = host;
    const coordinator = this.#coordinator;
    const { log } = this.#options;
    const common = { clock, random, suite: this.#suite, limits: this.#limits, log };
    const control = new ControlHost({ ...common, privateKey, publicKey, coordinator });
    this.#closers.push(() => control.close());
    this.#targets = {
      control,
      relay: this.#relay,
      controlKey: publicKey,
      admin: this.#adminContext(),
      derpMap,
      isHealthy: () => coordinator.error === undefined,
      adminOptions: this.#adminOptions(),
    };
  }

  async #openAdminSocket(): Promise<void> {
    const { dataDir, log } = this.#options;
    const path = join(dataDir, ADMIN_SOCKET_NAME);
    const socket = await openAdminSocket(path, this.#adminContext(), this.#adminOptions());
    if (socket === undefined) log('warn', `no socket for the administration: the path of ${dataDir} is too long`);
    else this.#closers.push(() => socket.close());
  }

  #adminOptions(): AdminOptions {
    const { log } = this.#options;
    return { onError: message => log('error', `administration: ${message}`), largeBodies: this.#largeBodies };
  }

  #adminContext(): AdminContext {
    return {
      isLocal: false,
      command: (actor, command) => this.command(actor, command),
      authenticate: token => this.#coordinator.authenticate(token),
      audit: query => this.#store.audit(query),
      status: () => this.status(),
      backup: async path => this.#store.backup(path),
    };
  }
}
