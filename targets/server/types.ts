/**
 * What a server takes, gives and holds: options and limits.
 */
import type { AdminCommand, AdminOutcome } from '../../lib/coordinator/commands.ts';
import type { CoordinatorStatus } from '../../lib/coordinator/coordinator.ts';
import type { AuditEntry } from '../../lib/coordinator/model.ts';
import type { WireDerpMap } from '../../lib/derp/map.ts';
import type { RelayLimits, RelayStatus } from '../../lib/derp/relay-types.ts';

/** How much a line of the log matters. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/**
 * Takes one line of the log: a sentence without secrets, and values for programs. Node keys come in their short form.
 */
export type Log = (
  level: LogLevel,
  message: string,
  fields?: Readonly<Record<string, string | number | boolean>>,
) => void;

/** Limits of a server. Everything that a stranger can open is in one of them. */
export interface ServerLimits {
  /** TCP connections of all listeners together; a newer one is closed at once. */
  readonly connections: number;
  /** Of these, connections from one source (IPv4 address or IPv6 /64 network) that have not proved to be a member's. */
  readonly strangersPerSource: number;
  /** Of these, from all sources together. */
  readonly strangers: number;
  /** New connections per second and source, and how many at once. */
  readonly opensPerSecond: number;
  readonly opensBurst: number;
  /** Requests at the same time on one control connection. */
  readonly requestsPerSession: number;
  /** Bytes of requests per second that one source may send on connections that have not proved to be a member's. */
  readonly strangerBytesPerSecond: number;
  readonly strangerBytesBurst: number;
  /** Largest body of one request; larger ones are answered with 413. */
  readonly bodyBytes: number;
  /** Bodies that are under way, of all requests together; beyond it 503. */
  readonly bodiesBytes: number;
  /** Time for the head of a request, and for all of a request with its body. */
  readonly headTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** A control connection without a request for this long is closed. */
  readonly idleTimeoutMs: number;
  /** An HTTP/2 ping goes out this often on a control connection, and the answer must come within `pongTimeoutMs`. */
  readonly pingMs: number;
  readonly pongTimeoutMs: number;
  /** Limits of the relay. */
  readonly relay: Partial<RelayLimits>;
}

/** Limits unless told. */
export const SERVER_LIMITS: ServerLimits = Object.freeze({
  connections: 65_536,
  strangersPerSource: 256,
  strangers: 4096,
  opensPerSecond: 256,
  opensBurst: 2048,
  requestsPerSession: 32,
  strangerBytesPerSecond: 2_097_152,
  strangerBytesBurst: 16_777_216,
  bodyBytes: 262_144,
  bodiesBytes: 67_108_864,
  headTimeoutMs: 10_000,
  requestTimeoutMs: 15_000,
  idleTimeoutMs: 60_000,
  pingMs: 45_000,
  pongTimeoutMs: 20_000,
  relay: Object.freeze({}),
});

/** What {@link startServer} takes. */
export interface ServerOptions {
  /** Where everything is kept; made with mode 0700. */
  readonly dataDir: string;
  /** `host` is an address of this machine, or `0.0.0.0` or `::` for all. Port 0: any free one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** How clients reach this server: `http://` or `https://`, a host, maybe a port. Absent: worked out of `listen`. */
  readonly url?: string;
  /** Certificate chain and key in PEM: the listener speaks TLS. Absent: it does not, and a second one does, for the relay. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** UDP port of STUN; 3478 unless told, 0: any free one, -1: no STUN. */
  readonly stunPort?: number | undefined;
  /** Port of the TLS listener that exists when `tls` is absent; 8443 unless told (any free one when `listen.port` is 0). */
  readonly relayPort?: number | undefined;
  readonly log: Log;
  /** Relays to publish instead of the own one. */
  readonly derpMap?: WireDerpMap;
  /** Files whose text becomes the policy of a tailnet, one for each, at the start and with {@link Server.readPolicies}. */
  readonly policies?: readonly PolicyFile[];
  readonly limits?: Partial<ServerLimits>;
}

/** Who gives a command: `admin` on this machine, or the holder of a token and what it may administer. */
export interface Actor {
  readonly name: string;
  /** Undefined: the whole server. */
  readonly tailnet: string | undefined;
}

/** A line of the audit log with its number, which only grows. */
export interface AuditRow extends AuditEntry {
  readonly seq: number;
}

/** Which lines of the audit log are wanted, newest first. */
export interface AuditQuery {
  /** Absent: of all tailnets and of the server. */
  readonly tailnet?: string | undefined;
  /** At most so many; 1 to 1000. */
  readonly limit: number;
  /** Only lines whose `seq` is below. */
  readonly before?: number | undefined;
}

/** What the administration interface stands on. */
export interface AdminContext {
  /** The request came over the socket in the data directory: who can open it needs no token. */
  readonly isLocal: boolean;
  /** Carries a command out; what it changed is durable when this resolves. */
  command(actor: Actor, command: AdminCommand): Promise<AdminOutcome>;
  /** Whose token this is; undefined: nobody's. */
  authenticate(token: string): Actor | undefined;
  audit(query: AuditQuery): AuditRow[];
  /** {@link ServerStatus} of a server that runs; of a store that is opened offline `coordinator` alone. */
  status(): Partial<ServerStatus> & Pick<ServerStatus, 'coordinator'>;
  /** Writes a copy of the database to a new file, mode 0600. Rejects with NetError `ERR_STORE`. */
  backup(path: string): Promise<void>;
}

/** What a server does and holds. */
export interface ServerStatus {
  readonly url: string;
  readonly uptimeMs: number;
  readonly connections: number;
  readonly strangers: number;
  readonly controlSessions: number;
  /** Connections that were refused because of a limit. */
  readonly refused: number;
  readonly relay: RelayStatus;
  readonly stun: { readonly answered: number; readonly rateLimited: number; readonly malformed: number };
  /** Group commits, and the commits in them. */
  readonly store: { readonly transactions: number; readonly commits: number };
  /** What the coordinator says of itself. */
  readonly coordinator: CoordinatorStatus;
  /** What an operator should know and change, as of the start. */
  readonly warnings: readonly string[];
  /** Files that policies are taken from. */
  readonly policyFiles: readonly PolicyFileStatus[];
}

/** A file that the policy of a tailnet is taken from. */
export interface PolicyFile {
  readonly tailnet: string;
  readonly path: string;
}

/** What became of a {@link PolicyFile} when it was read last. */
export interface PolicyFileStatus extends PolicyFile {
  /** When it was read, ms since 1970. */
  readonly readMs: number;
  /** Whether what was in it then is in force. */
  readonly isInForce: boolean;
  /** Version of the policy that is there now. */
  readonly version: number;
  /** Why it is not in force; lines that begin with that of the file: `9: …` or `9:43: …`. */
  readonly problem?: string;
  readonly details?: readonly string[];
}

/** A server that runs. */
export interface Server {
  /** How clients reach it. */
  readonly url: string;
  /** Where the HTTP listener is. */
  readonly address: { readonly host: string; readonly port: number };
  /** UDP port of STUN; undefined: none. */
  readonly stunPort: number | undefined;
  /** Port of the relay's own TLS listener; undefined when `tls` was given. */
  readonly relayPort: number | undefined;
  /** What an operator should know and change, one sentence each; they were logged too. */
  readonly warnings: readonly string[];
  /** Resolves when the store failed: nothing is answered any more but 503. Close the server and start another one. */
  readonly failed: Promise<Error>;
  command(actor: Actor, command: AdminCommand): Promise<AdminOutcome>;
  status(): ServerStatus;
  /** Reads the files of policies again. What is refused changes nothing: the log and the status say so. */
  readPolicies(): Promise<readonly PolicyFileStatus[]>;
  /** Ends all connections, makes what was decided durable, and lets go of the data directory. Safe to call twice. */
  close(): Promise<void>;
}
