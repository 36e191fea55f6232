/** What a map session may hold, by name, in two presets. */
import type { JsonLimits } from './json-stream.ts';
import type { PeerTableLimits } from './peer-table.ts';

/** Limits of one map session. Values are in bytes or pieces; what is beyond is dropped as said. */
export interface MapLimits extends PeerTableLimits, JsonLimits {
  /** One message of the stream; a larger one ends the session. */
  readonly messageBytes: number;
  /** One value while it is read: a peer, a rule, a relay region; a larger one is dropped alone. */
  readonly valueBytes: number;
  /** The self node, DNS: a larger one makes the message undecodable. */
  readonly wholeBytes: number;
  /** Patches and online changes of one message; beyond, the message is refused and the session starts anew. */
  readonly stagedBytes: number;
  /** Endpoints of one peer that are kept. */
  readonly endpoints: number;
  /** Tags of one peer that are kept. */
  readonly tags: number;
  /** Relay regions, and relays in one of them. */
  readonly regions: number;
  readonly regionNodes: number;
  /** Filter rules of all chunks together, and their bytes; what is left out is denied. */
  readonly rules: number;
  readonly ruleBytes: number;
  /** User profiles. */
  readonly users: number;
  /** Of peers their users, and routes behind them, are not kept; of this device not what it may do. */
  readonly isLean: boolean;
  /** Health texts. */
  readonly healthTexts: number;
}

/** For microcontrollers. */
export const MAP_LIMITS_SMALL: MapLimits = Object.freeze({
  peers: 300,
  peerBytes: 65_536,
  recordBytes: 1024,
  wholePeerBytes: 8192,
  depth: 32,
  textUnits: 512,
  messageBytes: 64 << 20,
  valueBytes: 4096,
  wholeBytes: 8192,
  stagedBytes: 32_768,
  endpoints: 2,
  tags: 8,
  regions: 32,
  regionNodes: 2,
  rules: 128,
  ruleBytes: 32_768,
  users: 0,
  isLean: true,
  healthTexts: 4,
});

/** For everything else. */
export const MAP_LIMITS_LARGE: MapLimits = Object.freeze({
  peers: 20_000,
  peerBytes: 32 << 20,
  recordBytes: 16_384,
  wholePeerBytes: Infinity,
  depth: 64,
  textUnits: 8192,
  messageBytes: 256 << 20,
  valueBytes: 262_144,
  wholeBytes: 1 << 20,
  stagedBytes: 8 << 20,
  endpoints: 32,
  tags: 64,
  regions: 256,
  regionNodes: 16,
  rules: 20_000,
  ruleBytes: 16 << 20,
  users: 20_000,
  isLean: false,
  healthTexts: 32,
});
