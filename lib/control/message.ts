/**
 * What the control protocol carries inside its encrypted stream: requests and responses of `/machine/register` and
 * `/machine/map` as JSON. Types only, names exactly as they stand on the wire, shared by client and coordinator.
 *
 * Senders differ in the case of field names, and a client must write the names exactly as here. Absent means
 * "unchanged" in a MapResponse, and null or absent mean the same everywhere. Ids are positive and below 2^53.
 */
import type { WireDerpMap } from '../derp/map.ts';
import type { WireFilterRule } from '../filter/rule.ts';

/** The capability version that this library speaks and sends. */
export const CAPABILITY_VERSION = 113;

/** What a device found out about its network. */
export interface WireNetInfo {
  readonly PreferredDERP?: number;
  readonly DERPLatency?: Readonly<Record<string, number>>;
  readonly MappingVariesByDestIP?: boolean | null;
  readonly WorkingUDP?: boolean | null;
  readonly WorkingIPv6?: boolean | null;
  readonly OSHasIPv6?: boolean | null;
  readonly LinkType?: string;
}

/** What a device says of itself. */
export interface WireHostinfo {
  readonly IPNVersion?: string;
  readonly OS?: string;
  readonly OSVersion?: string;
  readonly Hostname?: string;
  readonly BackendLogID?: string;
  readonly RoutableIPs?: readonly string[] | null;
  readonly RequestTags?: readonly string[] | null;
  readonly Services?:
    | readonly { readonly Proto: string; readonly Port: number; readonly Description?: string }[]
    | null;
  readonly ShieldsUp?: boolean;
  readonly Userspace?: boolean | null;
  readonly NetInfo?: WireNetInfo | null;
}

/** POST /machine/register. */
export interface WireRegisterRequest {
  readonly Version: number;
  readonly NodeKey: string;
  readonly OldNodeKey?: string;
  readonly NLKey?: string;
  readonly Auth?: { readonly AuthKey?: string } | null;
  /** RFC 3339; year 1: no request; in the past: log out. */
  readonly Expiry?: string;
  /** The AuthURL given before: the answer waits until that login is decided. */
  readonly Followup?: string;
  readonly Hostinfo?: WireHostinfo | null;
  readonly Ephemeral?: boolean;
  readonly NodeKeySignature?: string | null;
  readonly Timestamp?: string;
}

/** Its answer; every field is always sent. */
export interface WireRegisterResponse {
  readonly User: { readonly ID: number; readonly DisplayName: string };
  readonly Login: {
    readonly ID: number;
    readonly Provider: string;
    readonly LoginName: string;
    readonly DisplayName: string;
  };
  readonly NodeKeyExpired: boolean;
  readonly MachineAuthorized: boolean;
  readonly AuthURL: string;
  readonly NodeKeySignature?: string | null;
  /** Non-empty: refused; the text is shown to the user. */
  readonly Error: string;
}

/** POST /machine/map. */
export interface WireMapRequest {
  readonly Version: number;
  readonly NodeKey: string;
  readonly DiscoKey?: string;
  readonly Stream?: boolean;
  readonly OmitPeers?: boolean;
  readonly KeepAlive?: boolean;
  /** `zstd` or empty. */
  readonly Compress?: string;
  readonly Hostinfo?: WireHostinfo | null;
  readonly Endpoints?: readonly string[] | null;
  /** 0 unknown, 1 local, 2 STUN, 3 mapped, 4 STUN with local port, 5 configured; beside `Endpoints`. */
  readonly EndpointTypes?: readonly number[] | null;
  /** Words that coordinators take note of or ignore; {@link SMALL_MAP_FLAG}. */
  readonly DebugFlags?: readonly string[] | null;
}

/** A device says that it is small: our coordinator leaves out of its map what it does not use. Others ignore it. */
export const SMALL_MAP_FLAG = 'motenet:small-map=1';

/** A device as others see it. */
export interface WireNode {
  readonly ID: number;
  readonly StableID: string;
  /** Fully qualified, with the trailing dot. */
  readonly Name: string;
  readonly User: number;
  readonly Key: string;
  readonly KeyExpiry?: string;
  readonly KeySignature?: string | null;
  readonly Machine?: string;
  readonly DiscoKey?: string;
  readonly Addresses: readonly string[];
  /** Absent: the same as `Addresses`. */
  readonly AllowedIPs?: readonly string[];
  readonly Endpoints?: readonly string[];
  /** `127.3.3.40:REGION`, for readers below capability 111. */
  readonly DERP?: string;
  readonly HomeDERP?: number;
  readonly Hostinfo?: WireHostinfo;
  readonly Created?: string;
  readonly Cap?: number;
  readonly Tags?: readonly string[];
  readonly PrimaryRoutes?: readonly string[];
  readonly LastSeen?: string;
  readonly Online?: boolean;
  readonly MachineAuthorized?: boolean;
  readonly CapMap?: Readonly<Record<string, readonly unknown[] | null>>;
  readonly Expired?: boolean;
  readonly IsWireGuardOnly?: boolean;
  readonly IsJailed?: boolean;
  readonly UnsignedPeerAPIOnly?: boolean;
}

/** Some fields of a peer that is already known; absent: unchanged. */
export interface WirePeerChange {
  readonly NodeID: number;
  readonly DERPRegion?: number;
  readonly Cap?: number;
  readonly Endpoints?: readonly string[];
  readonly Key?: string;
  readonly KeySignature?: string;
  readonly DiscoKey?: string;
  readonly Online?: boolean;
  readonly LastSeen?: string;
  readonly KeyExpiry?: string;
}

/** A person or the owner of tagged devices. */
export interface WireUserProfile {
  readonly ID: number;
  readonly LoginName: string;
  readonly DisplayName: string;
}

/** Name resolution inside the network. */
export interface WireDnsConfig {
  readonly Resolvers?: readonly { readonly Addr: string }[] | null;
  readonly Routes?: Readonly<Record<string, readonly { readonly Addr: string }[] | null>> | null;
  readonly Domains?: readonly string[] | null;
  /** True: names of the network resolve through 100.100.100.100. */
  readonly Proxied?: boolean;
  readonly ExtraRecords?: readonly { readonly Name: string; readonly Type?: string; readonly Value: string }[] | null;
}

/** One message of the map stream. */
export interface WireMapResponse {
  readonly KeepAlive?: boolean;
  readonly Node?: WireNode | null;
  readonly Peers?: readonly WireNode[] | null;
  readonly PeersChanged?: readonly WireNode[] | null;
  readonly PeersRemoved?: readonly number[] | null;
  readonly PeersChangedPatch?: readonly WirePeerChange[] | null;
  readonly PeerSeenChange?: Readonly<Record<string, boolean>> | null;
  readonly OnlineChange?: Readonly<Record<string, boolean>> | null;
  readonly DERPMap?: WireDerpMap | null;
  readonly DNSConfig?: WireDnsConfig | null;
  readonly Domain?: string;
  readonly CollectServices?: boolean | null;
  readonly PacketFilter?: readonly WireFilterRule[] | null;
  readonly PacketFilters?: Readonly<Record<string, readonly WireFilterRule[] | null>> | null;
  readonly UserProfiles?: readonly WireUserProfile[] | null;
  readonly Health?: readonly string[] | null;
  readonly SSHPolicy?: { readonly rules: readonly unknown[] } | null;
  readonly ControlTime?: string;
  readonly Debug?: { readonly DisableLogTail?: boolean; readonly SleepSeconds?: number } | null;
  readonly PingRequest?: {
    readonly URL: string;
    readonly URLIsNoise?: boolean;
    readonly Types?: string;
    readonly IP?: string;
  } | null;
}
