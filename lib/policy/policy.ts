/**
 * A policy as it was read: what its rules, tests and other sections say, with the line of each. Types only.
 *
 * Without "acls" and "grants" everybody in the tailnet may reach everything; with an empty list nobody may.
 */
import type { Alias, Names } from './alias.ts';
import type { JsonDocument, JsonNode } from './hujson.ts';
import type { IpRange } from './ip-set.ts';
import type { PortRange } from './ports.ts';
import type { Place, Problem } from './problem.ts';

/** Where a rule lets its sources go. */
export interface RuleDestination {
  readonly alias: Alias;
  readonly ports: readonly PortRange[];
}

/** One rule about one set of protocols. A grant about several protocols becomes several, at the same place. */
export interface PolicyRule extends Place {
  /** `acls[3]`, `grants[0]`, or `default` for the rule of a policy without rules. */
  readonly name: string;
  readonly sources: readonly Alias[];
  readonly destinations: readonly RuleDestination[];
  /** Protocol numbers; empty: TCP, UDP, ICMP and ICMPv6. */
  readonly protocols: readonly number[];
  /** Whether packets may pass; false for a rule about capabilities. */
  readonly isNetwork: boolean;
  /** Capabilities that the sources have on the destinations. */
  readonly capabilities?: Readonly<Record<string, readonly unknown[]>>;
  /** Tags of the routers through which alone the destinations are reached; empty: any. */
  readonly via: readonly string[];
}

/** One line of an access test. */
export interface PolicyTestTarget extends Place {
  readonly text: string;
  readonly alias: Alias;
  readonly port: number;
}

/** One access test. */
export interface PolicyTest extends Place {
  /** `tests[2]`. */
  readonly name: string;
  readonly source: Alias;
  /** Undefined: TCP or UDP, either is access. */
  readonly protocol: number | undefined;
  readonly accept: readonly PolicyTestTarget[];
  readonly deny: readonly PolicyTestTarget[];
}

/** Attributes for devices. */
export interface NodeAttribute extends Place {
  readonly targets: readonly Alias[];
  readonly attributes: readonly string[];
}

/** Whose routes need no approval. */
export interface AutoApprovers {
  readonly routes: readonly { readonly range: IpRange; readonly approvers: readonly Alias[] }[];
  readonly exitNode: readonly Alias[];
}

/** A policy. */
export interface Policy {
  readonly document: JsonDocument;
  readonly names: Names;
  /** Owners of each tag. */
  readonly tagOwners: ReadonlyMap<string, readonly Alias[]>;
  readonly rules: readonly PolicyRule[];
  readonly tests: readonly PolicyTest[];
  readonly nodeAttributes: readonly NodeAttribute[];
  readonly autoApprovers: AutoApprovers;
  readonly randomizeClientPort: boolean;
  /** Sections that are kept as they came and not evaluated, by name. */
  readonly unevaluated: ReadonlyMap<string, JsonNode>;
}

/** What reading a file gives: a policy, or problems. Notes are about what is read but not evaluated. */
export type PolicyResult =
  | { readonly policy: Policy; readonly notes: readonly Problem[] }
  | { readonly policy: undefined; readonly errors: readonly Problem[]; readonly notes: readonly Problem[] };
