/**
 * What goes into a coordinator and comes out of it: its options, its events, and what it needs of the part that carries
 * map streams.
 */
import type { CryptoSuite } from '../crypto/suite.ts';
import type { WireDerpMap } from '../derp/map.ts';
import type { AdminOutcome } from './commands.ts';
import type { CoordinatorLimits } from './limits.ts';
import type { Policy } from '../policy/policy.ts';
import type { Change, DeviceRecord, TailnetRecord, UserRecord } from './model.ts';

/** What the operator decides. */
export interface CoordinatorSettings {
  /** Where people open pages, without a slash at the end: `https://control.example.com`. */
  readonly url: string;
  readonly derpMap: WireDerpMap;
  readonly limits?: Partial<CoordinatorLimits>;
}

/** What a coordinator is made of. */
export interface CoordinatorOptions {
  readonly nowMs: number;
  readonly unixMs: number;
  readonly random: (out: Uint8Array) => void;
  readonly suite: CryptoSuite;
  readonly settings: CoordinatorSettings;
  /** What the store holds, in any order; absent or empty: the first start. */
  readonly records?: Iterable<Change>;
  /** Id of the last commit in the store; the next one is one more. Absent: 0. */
  readonly lastCommit?: number;
  /** Another carrier of map streams, for tests. */
  readonly sessions?: MapCarrier;
}

/** A request for `/machine/register` or `/machine/map`, out of a control connection. */
export interface MachineRequest {
  /** 32 bytes, proven by the connection's handshake. */
  readonly machineKey: Uint8Array;
  /** Address of the client, for limits and the log. */
  readonly source: string;
  /** JSON. */
  readonly body: Uint8Array;
}

/** Who gives an administrator's command. */
export interface Actor {
  /** `admin` or `token:<id>`: goes into the audit log. */
  readonly name: string;
  /** The only tailnet that it may touch; undefined: the whole server. */
  readonly tailnet: string | undefined;
}

/** What a coordinator tells its target. */
export type CoordinatorEvent =
  /** The answer to a request, which ends it. `body` is JSON, or empty. */
  | {
      readonly type: 'reply';
      readonly request: number;
      readonly status: number;
      readonly body: Uint8Array;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** The answer is 200 and a stream whose bytes come out of `pollMapBytes`. */
  | { readonly type: 'stream'; readonly request: number }
  /** The stream ends here; bytes of it that were not polled are not to be sent. */
  | { readonly type: 'end'; readonly request: number }
  /** A command is done, and durable. */
  | { readonly type: 'outcome'; readonly request: number; readonly outcome: AdminOutcome }
  /** This node key (32 bytes) is no longer that of a member: the relay closes its connections in this tailnet. */
  | { readonly type: 'relay-disconnect'; readonly tailnet: string; readonly nodeKey: Uint8Array }
  /** One line for the log, without secrets. */
  | { readonly type: 'log'; readonly level: 'info' | 'warn' | 'error'; readonly message: string };

/** What a map stream is opened with. */
export interface MapOpening {
  readonly device: DeviceRecord;
  readonly capability: number;
  readonly isZstd: boolean;
  readonly isStream: boolean;
  readonly omitPeers: boolean;
  readonly keepAlive: boolean;
  /** The device asked for a map with only what a small one uses. */
  readonly isSmall: boolean;
}

/** What happens at the carrier of map streams. */
export type MapCarrierEvent =
  | { readonly type: 'end'; readonly id: number; readonly reason: 'replaced' | 'slow' | 'gone' | 'complete' }
  | { readonly type: 'presence'; readonly tailnet: string; readonly device: number; readonly isOnline: boolean };

/** The carrier of map streams, as the coordinator uses it: it is told what is durable, and nothing else. */
export interface MapCarrier {
  setDerpMap(nowMs: number, map: WireDerpMap): void;
  addTailnet(tailnet: TailnetRecord, users: Iterable<UserRecord>): void;
  removeTailnet(nowMs: number, id: string): void;
  tailnetChanged(nowMs: number, tailnet: TailnetRecord): void;
  userChanged(nowMs: number, user: UserRecord): void;
  /** The policy that is in force in a tailnet from now on; undefined: everything is allowed. */
  policyChanged(nowMs: number, tailnet: string, policy: Policy | undefined): void;
  deviceChanged(nowMs: number, unixMs: number, device: DeviceRecord, previous: DeviceRecord | undefined): void;
  deviceRemoved(nowMs: number, device: DeviceRecord): void;
  open(nowMs: number, unixMs: number, id: number, opening: MapOpening): void;
  close(nowMs: number, id: number): void;
  pollReady(): number | undefined;
  pollBytes(nowMs: number, unixMs: number, id: number, out: Uint8Array, start: number, end: number): number;
  pollEvent(): MapCarrierEvent | undefined;
  isOnline(device: number): boolean;
  handleTimeout(nowMs: number, unixMs: number): void;
  nextTimeout(): number;
}
