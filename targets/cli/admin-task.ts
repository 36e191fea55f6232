/** What an administration command line asks for, and how the table of these commands is built: types only. */
import type { AdminCommand } from '../../lib/coordinator/commands.ts';
import type { AuditQuery } from '../server/types.ts';
import type { AdminFlag, FlagValues } from './admin-flags.ts';

/** What is to be done. Paths are as they were given; `-` is standard input. */
export type AdminTask =
  | { readonly type: 'command'; readonly command: AdminCommand }
  | { readonly type: 'audit'; readonly query: AuditQuery }
  | { readonly type: 'backup'; readonly path: string }
  | { readonly type: 'policy-check'; readonly path: string; readonly devices: string | undefined }
  | PolicyTask;

/** What is to be done with the policy of a coordinator. */
export type PolicyTask =
  | {
      readonly type: 'policy-put';
      readonly tailnet: string;
      readonly path: string;
      /** The version that has to be there still; undefined: any. */
      readonly version: number | undefined;
      readonly isDryRun: boolean;
    }
  | { readonly type: 'policy-edit'; readonly tailnet: string }
  /** About ICMP over both families. */
  | { readonly type: 'policy-explain-icmp'; readonly command: ExplainCommand };

/** A question about access. */
export type ExplainCommand = Extract<AdminCommand, { type: 'policy-explain' }>;

/** One command below a group: `motenet GROUP NAME`. */
export type AdminEntry = AdminUsage &
  (
    | {
        /** Makes the command. Throws UsageError for a value that is none. */
        readonly command: (taken: readonly string[], values: FlagValues) => AdminCommand;
      }
    | {
        /** Says what else is to be done. Throws UsageError for a value that is none. */
        readonly task: (taken: readonly string[], values: FlagValues) => AdminTask;
      }
  );

/** How a command is written. */
export interface AdminUsage {
  readonly summary: string;
  /** Names of the arguments in the help; one in brackets may be left out. */
  readonly takes: readonly string[];
  readonly flags: Readonly<Record<string, AdminFlag>>;
  /** It needs no coordinator, and has no flags that say where one is. */
  readonly isLocal?: boolean;
}

/** Commands about one kind of thing. */
export interface AdminGroup {
  readonly summary: string;
  readonly entries: Readonly<Record<string, AdminEntry>>;
}
