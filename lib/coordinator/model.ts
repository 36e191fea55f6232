/**
 * What a coordinator knows, as records: plain data that can be JSON. The machine keeps them in memory; a commit names the
 * records that change, and the target makes them durable. Secrets are never in a record: of keys and tokens there is
 * only a hash.
 */

/** One isolated network. */
export interface TailnetRecord {
  /** DNS label, unique on the server, never changes: names end in `<id>.mote.internal`. */
  readonly id: string;
  readonly createdMs: number;
  /** Devices need an approval before they see or are seen. */
  readonly requiresApproval: boolean;
  /** Life of a node key in ms; 0: for ever. */
  readonly keyLifeMs: number;
}

/** Somebody who owns devices. */
export interface UserRecord {
  readonly tailnet: string;
  /** Unique on the server, positive, below 2^53. */
  readonly id: number;
  /** Unique in the tailnet; like `ann@example.com` or `ann`. */
  readonly loginName: string;
  readonly displayName: string;
  readonly createdMs: number;
}

/** An auth key: what is known of it once it has been shown. */
export interface AuthKeyRecord {
  readonly tailnet: string;
  /** The public part of the key's text, by which it is listed and revoked: 12 hex digits, unique on the server. */
  readonly id: string;
  /** BLAKE2s-256 of the whole text, base64. */
  readonly hash: string;
  readonly user: number;
  readonly description: string;
  readonly createdMs: number;
  /** When it stops being accepted; 0: never. */
  readonly expiresMs: number;
  readonly isReusable: boolean;
  readonly isEphemeral: boolean;
  /** Devices that join with it need no approval. */
  readonly isPreapproved: boolean;
  /** `tag:name`; devices that join with it have these and no owner. */
  readonly tags: readonly string[];
  readonly uses: number;
  readonly lastUsedMs: number;
  readonly revokedMs: number;
}

/** A member, or one that wants to be. */
export interface DeviceRecord {
  readonly tailnet: string;
  /** Random, unique on the server, positive, below 2^53, never used again. */
  readonly id: number;
  /** `mkey:`, `nodekey:` and `discokey:` texts; `discoKey` is empty before the first map request. */
  readonly machineKey: string;
  readonly nodeKey: string;
  readonly discoKey: string;
  /** Owner; of a tagged device, who made the key. */
  readonly user: number;
  /** DNS label, unique in the tailnet. */
  readonly name: string;
  /** The administrator chose the name: the device's own idea of it no longer matters. */
  readonly isNameFixed: boolean;
  /** What the device calls itself, as it came. */
  readonly hostname: string;
  /** One IPv4, one IPv6 address; never given to another device. */
  readonly addresses: readonly [string, string];
  readonly createdMs: number;
  /** When the node key stops being valid; 0: never. In the past: logged out or expired. */
  readonly keyExpiryMs: number;
  readonly isApproved: boolean;
  readonly isEphemeral: boolean;
  readonly tags: readonly string[];
  /** Id of the auth key that it joined with; empty after an interactive login. */
  readonly authKey: string;
  /** Capability version that it announced last. */
  readonly capability: number;
  readonly os: string;
  readonly version: string;
  /** Services that peers may need: `peerapi4`, `peerapi6`. */
  readonly services: readonly { readonly Proto: string; readonly Port: number }[];
  /** `ip:port`, at most 32. */
  readonly endpoints: readonly string[];
  /** Home relay; 0: unknown. */
  readonly homeRegion: number;
  readonly lastSeenMs: number;
  /** Tailnet-lock signature of the node key, base64, kept and handed on as it is; empty: none. */
  readonly keySignature: string;
  /** Routes that it offers, as canonical prefixes without host bits, each once; `0.0.0.0/0` and `::/0`: an exit node. */
  readonly advertisedRoutes: readonly string[];
  /** Routes that it may serve, in the same form. In force are those that it offers and may serve. */
  readonly approvedRoutes: readonly string[];
}

/** A policy file that was accepted: `current` is the newest, `good` the newest whose tests passed. */
export interface PolicyRecord {
  readonly tailnet: string;
  readonly id: 'current' | 'good';
  /** 1, 2, 3, … in a tailnet. */
  readonly version: number;
  /** As it came, comments included. */
  readonly text: string;
  readonly setMs: number;
  /** Actor of the command. */
  readonly setBy: string;
}

/** A token for the administration interface. */
export interface TokenRecord {
  /** Tailnet that it administers, or empty for the whole server. */
  readonly tailnet: string;
  /** 12 hex digits. */
  readonly id: string;
  /** BLAKE2s-256 of the whole text, base64. */
  readonly hash: string;
  readonly description: string;
  readonly createdMs: number;
  readonly expiresMs: number;
}

/** An address that is taken for ever, also after its device is gone. */
export interface TakenAddressRecord {
  readonly tailnet: string;
  /** The IPv4 address; the IPv6 address follows from it. */
  readonly id: string;
}

/** All kinds of records by name. */
export interface Records {
  tailnet: TailnetRecord;
  user: UserRecord;
  key: AuthKeyRecord;
  device: DeviceRecord;
  token: TokenRecord;
  address: TakenAddressRecord;
  policy: PolicyRecord;
}

/** Kind of a record. */
export type RecordKind = keyof Records;

/** One record that comes, changes or (without `value`) goes. `id` is unique within tailnet and kind. */
export type Change = {
  [K in RecordKind]: {
    readonly kind: K;
    readonly tailnet: string;
    readonly id: string;
    readonly value: Records[K] | undefined;
  };
}[RecordKind];

/** Who did what: one line of the audit log. Holds no secret. */
export interface AuditEntry {
  readonly atMs: number;
  readonly tailnet: string;
  /** `admin`, `token:<id>`, `device:<id>`, `coordinator`. */
  readonly actor: string;
  /** Name of the command: `key-create`, `device-join`, … */
  readonly action: string;
  /** What it was done to: `device:<id>`. */
  readonly target: string;
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

/** One atomic change of the durable state, in order. Nothing that depends on it leaves before it is durable. */
export interface Commit {
  /** 1, 2, 3, … */
  readonly id: number;
  readonly changes: readonly Change[];
  /** Absent where nobody decided anything: endpoints, time of last contact. */
  readonly audit?: AuditEntry;
}

/** The first tailnet, which exists without being asked for. */
export const FIRST_TAILNET = 'default';
/** What every name ends in, behind the tailnet. */
export const NAME_SUFFIX = 'mote.internal';

/** A tailnet's name suffix without dots around it: `default.mote.internal`. */
export function suffixOfTailnet(tailnet: string): string {
  return `${tailnet}.${NAME_SUFFIX}`;
}
