/**
 * Packet filter rules as a coordinator sends them (FilterRule of the control protocol), types only.
 * A rule is either about the network (`DstPorts`) or a grant of application capabilities (`CapGrant`), never both.
 */

/** Ports `First` to `Last`, both included; 0 to 65535 for all. */
export interface WirePortRange {
  readonly First: number;
  readonly Last: number;
}

/** Where a rule lets packets go. */
export interface WireNetPortRange {
  /** An address, a prefix without host bits, a range `a-b`, or `*`. */
  readonly IP: string;
  readonly Ports: WirePortRange;
}

/** Capabilities that the sources of a rule have on these destinations. */
export interface WireCapGrant {
  readonly Dsts: readonly string[];
  readonly Caps?: readonly string[];
  readonly CapMap?: Readonly<Record<string, readonly unknown[] | null>>;
}

/** One rule for inbound packets of the device that receives it. */
export interface WireFilterRule {
  /** Addresses, prefixes, ranges `a-b`, `*`, or `cap:NAME`. */
  readonly SrcIPs: readonly string[];
  readonly DstPorts?: readonly WireNetPortRange[];
  /** IP protocol numbers; absent or empty: TCP, UDP, ICMP and ICMPv6. */
  readonly IPProto?: readonly number[];
  readonly CapGrant?: readonly WireCapGrant[];
}
