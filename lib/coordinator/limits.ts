/**
 * How much a coordinator holds, and what gives way when a table is full. One preset: a coordinator runs on servers; a
 * test or a small machine lowers what it wants.
 */

/** Named limits. Sizes are in bytes, times in ms, texts in UTF-16 units. */
export interface CoordinatorLimits {
  /** Tailnets on the server; a further one is refused. */
  readonly tailnets: number;
  /** Users of a tailnet; a further one is refused. */
  readonly usersPerTailnet: number;
  /** Devices of a tailnet; a further join is refused. */
  readonly devicesPerTailnet: number;
  /** Addresses a tailnet may use up in its life; it keeps half of 100.64.0.0/10 free, so that a draw takes few tries. */
  readonly addressesPerTailnet: number;
  /** Auth keys of a tailnet: the oldest that is used up, expired or revoked gives way; without one it is refused. */
  readonly keysPerTailnet: number;
  /** Administration tokens on the server; an expired one gives way, without one it is refused. */
  readonly tokens: number;
  /** Logins that wait for an approval; the least recently used gives way. */
  readonly pendingLogins: number;
  /** The same for one source address: its own least recently used gives way. */
  readonly pendingLoginsPerSource: number;
  /** How long a login waits, from the last time that its device asked. */
  readonly pendingLoginLifeMs: number;
  /** Requests of one source address that wait for an answer; a further one gets 429. */
  readonly waitingPerSource: number;
  /** Body of a request; a larger one gets 413. */
  readonly bodyBytes: number;
  /** Containers inside each other in a request; a deeper one gets 400. */
  readonly jsonDepth: number;
  /** A device's idea of its name; cut off behind. */
  readonly hostnameUnits: number;
  /** Texts such as operating system and version; cut off behind. */
  readonly textUnits: number;
  /** Tailnet-lock signature as base64; a longer one is ignored. */
  readonly signatureUnits: number;
  /** Endpoints of a device; those behind are dropped. */
  readonly endpoints: number;
  /** Services of a device; those behind are dropped. */
  readonly services: number;
  /** Tags of an auth key or a device; more are refused. */
  readonly tags: number;
  /** Routes that a device offers, or that are approved for it: of those offered the rest is dropped, of others refused. */
  readonly routes: number;
  /** A policy file as UTF-8; a larger one is refused. */
  readonly policyBytes: number;
  /** An ephemeral device that is not connected is removed after this long, also when it never connected. */
  readonly ephemeralGraceMs: number;
  /** Refusals of one auth key that the audit log has per hour; those above are logged only. */
  readonly auditedRefusalsPerHour: number;
  /** Renames, new node keys and earlier ends that one device decides on by itself per hour: each is in the audit log for ever. */
  readonly ownActsPerHour: number;
}

const MINUTE_MS = 60_000;

/** What a coordinator holds unless told otherwise. */
export const COORDINATOR_LIMITS: CoordinatorLimits = Object.freeze({
  tailnets: 10_000,
  usersPerTailnet: 10_000,
  devicesPerTailnet: 100_000,
  addressesPerTailnet: 2_000_000,
  keysPerTailnet: 10_000,
  tokens: 10_000,
  pendingLogins: 1024,
  pendingLoginsPerSource: 64,
  pendingLoginLifeMs: 15 * MINUTE_MS,
  waitingPerSource: 1024,
  bodyBytes: 1 << 18,
  jsonDepth: 32,
  hostnameUnits: 128,
  textUnits: 64,
  signatureUnits: 4096,
  endpoints: 32,
  services: 8,
  tags: 16,
  routes: 64,
  policyBytes: 1 << 20,
  ephemeralGraceMs: 30 * MINUTE_MS,
  auditedRefusalsPerHour: 64,
  ownActsPerHour: 60,
});
