/**
 * What an administrator may ask of a coordinator, and what comes back: plain data, the same for the admin interface, the
 * command line and tests. Every command starts with the tailnet it is about (absent: the whole server).
 */
import type { DeviceRecord } from './model.ts';
import type { PolicyCommand, PolicyResults } from './policy-commands.ts';

/** A command. Times are ms since 1970, durations ms. */
export type AdminCommand =
  | PolicyCommand
  | { readonly type: 'tailnet-list' }
  | {
      readonly type: 'tailnet-create';
      readonly tailnet: string;
      readonly requiresApproval?: boolean;
      readonly keyLifeMs?: number;
    }
  | {
      readonly type: 'tailnet-update';
      readonly tailnet: string;
      readonly requiresApproval?: boolean;
      readonly keyLifeMs?: number;
    }
  /** Only when it has no devices, unless `force`. */
  | { readonly type: 'tailnet-remove'; readonly tailnet: string; readonly force?: boolean }
  | { readonly type: 'user-list'; readonly tailnet: string }
  | {
      readonly type: 'user-create';
      readonly tailnet: string;
      readonly loginName: string;
      readonly displayName?: string;
    }
  | {
      readonly type: 'user-rename';
      readonly tailnet: string;
      readonly loginName: string;
      readonly newLoginName: string;
    }
  /** Only when it owns no devices. */
  | { readonly type: 'user-remove'; readonly tailnet: string; readonly loginName: string }
  | {
      readonly type: 'key-create';
      readonly tailnet: string;
      /** Login name; absent: the tailnet's first user. */
      readonly user?: string;
      readonly description?: string;
      /** Absent: 1 hour; at most 365 days. */
      readonly lifeMs?: number;
      readonly isReusable?: boolean;
      readonly isEphemeral?: boolean;
      readonly isPreapproved?: boolean;
      readonly tags?: readonly string[];
    }
  | { readonly type: 'key-list'; readonly tailnet: string }
  | { readonly type: 'key-revoke'; readonly tailnet: string; readonly id: string }
  | { readonly type: 'device-list'; readonly tailnet: string }
  /** `device` is an id, a name or an address of it; for `device-approve` also the id of a login that waits. */
  | { readonly type: 'device-approve'; readonly tailnet: string; readonly device: string; readonly user?: string }
  | { readonly type: 'device-rename'; readonly tailnet: string; readonly device: string; readonly name: string }
  | { readonly type: 'device-expire'; readonly tailnet: string; readonly device: string }
  | { readonly type: 'device-remove'; readonly tailnet: string; readonly device: string }
  /** All tags that it is to have; without any it belongs to its owner again. */
  | {
      readonly type: 'device-tags';
      readonly tailnet: string;
      readonly device: string;
      readonly tags: readonly string[];
    }
  /** All routes that it may serve, as prefixes; `0.0.0.0/0` and `::/0` make it an exit node. */
  | {
      readonly type: 'device-routes';
      readonly tailnet: string;
      readonly device: string;
      readonly routes: readonly string[];
    }
  | { readonly type: 'token-create'; readonly tailnet: string; readonly description?: string; readonly lifeMs?: number }
  | { readonly type: 'token-list'; readonly tailnet: string }
  | { readonly type: 'token-revoke'; readonly tailnet: string; readonly id: string };

/** Why a command was refused. */
export type AdminErrorCode = 'not-found' | 'invalid' | 'conflict' | 'forbidden' | 'tests-failed';

/** The outcome of a command; it is durable when this is heard. `value` is plain data as in {@link AdminResults}. */
export type AdminOutcome =
  | { readonly isOk: true; readonly value: unknown }
  | {
      readonly isOk: false;
      readonly code: AdminErrorCode;
      readonly message: string;
      /** Of a policy: what is wrong with it, or the tests that fail, one line each. */
      readonly details?: readonly string[];
    };

/** A tailnet as listed. */
export interface TailnetView {
  readonly id: string;
  readonly suffix: string;
  readonly createdMs: number;
  readonly requiresApproval: boolean;
  readonly keyLifeMs: number;
  readonly devices: number;
  readonly users: number;
  /** 0: nobody has set a policy, everything is allowed. */
  readonly policyVersion: number;
  /** Why its policy needs somebody. */
  readonly policyAlarm?: string;
}

/** A user as listed. */
export interface UserView {
  readonly id: number;
  readonly loginName: string;
  readonly displayName: string;
  readonly createdMs: number;
  readonly devices: number;
}

/** An auth key as listed; `key` only in the answer to `key-create`, once. */
export interface KeyView {
  readonly id: string;
  readonly key?: string;
  readonly user: string;
  readonly description: string;
  readonly createdMs: number;
  readonly expiresMs: number;
  readonly isReusable: boolean;
  readonly isEphemeral: boolean;
  readonly isPreapproved: boolean;
  readonly tags: readonly string[];
  readonly uses: number;
  readonly lastUsedMs: number;
  readonly state: 'valid' | 'used' | 'expired' | 'revoked';
}

/** A device as listed. */
export interface DeviceView {
  readonly id: number;
  readonly name: string;
  /** Name with the tailnet's suffix. */
  readonly fullName: string;
  readonly addresses: DeviceRecord['addresses'];
  readonly user: string;
  readonly tags: readonly string[];
  readonly hostname: string;
  readonly os: string;
  readonly version: string;
  readonly nodeKey: string;
  readonly machineKey: string;
  readonly createdMs: number;
  readonly keyExpiryMs: number;
  readonly lastSeenMs: number;
  readonly isOnline: boolean;
  readonly isEphemeral: boolean;
  /** Routes that it offers or may serve; those that are both are in force. */
  readonly routes: readonly {
    readonly route: string;
    readonly isApproved: boolean;
    readonly isAdvertised: boolean;
  }[];
  /** `waiting`: needs an approval. `login`: an interactive login that waits; `id` is 0, approve by `pendingId`. */
  readonly state: 'approved' | 'waiting' | 'expired' | 'login';
  readonly pendingId?: string;
}

/** A token as listed; `token` only in the answer to `token-create`, once. */
export interface TokenView {
  readonly id: string;
  readonly token?: string;
  /** Empty: the whole server. */
  readonly tailnet: string;
  readonly description: string;
  readonly createdMs: number;
  readonly expiresMs: number;
}

/** What each command answers with. */
export interface AdminResults extends PolicyResults {
  'tailnet-list': readonly TailnetView[];
  'tailnet-create': TailnetView;
  'tailnet-update': TailnetView;
  'tailnet-remove': Record<string, never>;
  'user-list': readonly UserView[];
  'user-create': UserView;
  'user-rename': UserView;
  'user-remove': Record<string, never>;
  'key-create': KeyView;
  'key-list': readonly KeyView[];
  'key-revoke': KeyView;
  'device-list': readonly DeviceView[];
  'device-approve': DeviceView;
  'device-rename': DeviceView;
  'device-expire': DeviceView;
  'device-remove': Record<string, never>;
  'device-tags': DeviceView;
  'device-routes': DeviceView;
  'token-create': TokenView;
  'token-list': readonly TokenView[];
  'token-revoke': Record<string, never>;
}
