/**
 * The administration commands as one table: what each is called, what it takes, and the command that it becomes.
 * Arguments and help texts are both made from it.
 */
import { KEY_LIFE_LIMIT_MS, LIFE_LIMIT_MS } from '../server/admin-syntax.ts';
import {
  type AdminFlag,
  durationOf,
  type FlagValues,
  given,
  routesOf,
  scopeOf,
  TAILNET,
  tagOf,
  tailnetOf,
  textOf,
} from './admin-flags.ts';
import type { AdminGroup } from './admin-task.ts';
import { quote } from './args.ts';
import { UsageError } from './errors.ts';
import { POLICY_ENTRIES } from './policy-args.ts';

/** Life of a token unless told: 90 days. */
const TOKEN_LIFE_MS = 7_776_000_000;

const DESCRIPTION: AdminFlag = { type: 'string', value: 'TEXT', help: 'A note for the list.' };
const SERVER: AdminFlag = { type: 'boolean', help: 'For the whole server instead of one tailnet.' };
const FORCE: AdminFlag = { type: 'boolean', help: 'Also when it has devices: they are removed with it.' };
const APPROVAL: AdminFlag = {
  type: 'string',
  value: 'on|off',
  help: 'Whether a new device waits for `motenet devices approve`; off unless told.',
};
const KEY_LIFE: AdminFlag = {
  type: 'string',
  value: 'TIME',
  help: 'How long a device key is valid, such as 90d, or never; 180d unless told.',
};

/** Every group with its commands. */
export const ADMIN_GROUPS: Readonly<Record<string, AdminGroup>> = /* @__PURE__ */ Object.freeze({
  keys: {
    summary: 'Auth keys, with which devices join',
    entries: {
      create: {
        summary: 'Makes an auth key and prints it, this once. It admits one device, within an hour, unless told.',
        takes: [],
        flags: {
          expires: {
            type: 'string',
            value: 'TIME',
            help: 'How long it can be used, such as 30m or 90d; at most 365d.',
          },
          reusable: { type: 'boolean', help: 'Admits any number of devices.' },
          ephemeral: { type: 'boolean', help: 'Its devices are removed soon after they go away.' },
          preapproved: { type: 'boolean', help: 'Its devices need no approval.' },
          tag: {
            type: 'string',
            multiple: true,
            value: 'NAME',
            help: 'Tag of its devices, such as server; can be given several times.',
          },
          user: { type: 'string', value: 'LOGIN', help: 'Who owns its devices; the first user unless told.' },
          description: DESCRIPTION,
          tailnet: TAILNET,
        },
        command: (_, values) => ({
          ...{ type: 'key-create', tailnet: tailnetOf(values) },
          ...given('user', textOf(values, 'user')),
          ...given('description', textOf(values, 'description')),
          ...given('lifeMs', durationOf(values, 'expires', KEY_LIFE_LIMIT_MS)),
          ...given('isReusable', values['reusable'] === true ? true : undefined),
          ...given('isEphemeral', values['ephemeral'] === true ? true : undefined),
          ...given('isPreapproved', values['preapproved'] === true ? true : undefined),
          ...given('tags', tagsOf(values)),
        }),
      },
      list: {
        summary: 'Lists auth keys.',
        takes: [],
        flags: { tailnet: TAILNET },
        command: (_, values) => ({ type: 'key-list', tailnet: tailnetOf(values) }),
      },
      revoke: {
        summary: 'Makes an auth key useless. Devices that joined with it stay.',
        takes: ['ID'],
        flags: { tailnet: TAILNET },
        command: ([id], values) => ({ type: 'key-revoke', tailnet: tailnetOf(values), id: idOf(id!) }),
      },
    },
  },
  devices: {
    summary: 'Devices: list, approve, rename, tags, routes, expire, remove',
    entries: {
      list: {
        summary: 'Lists devices, and logins that wait for an approval.',
        takes: [],
        flags: { tailnet: TAILNET },
        command: (_, values) => ({ type: 'device-list', tailnet: tailnetOf(values) }),
      },
      approve: {
        summary: 'Lets a device in that waits. DEVICE may be the id of a login that waits.',
        takes: ['DEVICE'],
        flags: {
          user: { type: 'string', value: 'LOGIN', help: 'Who owns it; the first user unless told.' },
          tailnet: TAILNET,
        },
        command: ([device], values) => ({
          ...{ type: 'device-approve', tailnet: tailnetOf(values), device: device! },
          ...given('user', textOf(values, 'user')),
        }),
      },
      rename: {
        summary: 'Gives a device another name, which it keeps.',
        takes: ['DEVICE', 'NAME'],
        flags: { tailnet: TAILNET },
        command: ([device, name], values) => ({
          ...{ type: 'device-rename', tailnet: tailnetOf(values), device: device!, name: name! },
        }),
      },
      expire: {
        summary: 'Ends the validity of its key now: it must log in again, and reaches nobody until then.',
        takes: ['DEVICE'],
        flags: { tailnet: TAILNET },
        command: ([device], values) => ({ type: 'device-expire', tailnet: tailnetOf(values), device: device! }),
      },
      tag: {
        summary:
          'Gives a device these tags and no others, such as server,db. With --none it belongs to its user again.',
        takes: ['DEVICE', '[TAGS]'],
        flags: { none: { type: 'boolean', help: 'No tags.' }, tailnet: TAILNET },
        command: ([device, tags], values) => ({
          ...{ type: 'device-tags', tailnet: tailnetOf(values), device: device!, tags: deviceTags(tags, values) },
        }),
      },
      routes: {
        summary: 'Says which routes a device may serve, of those that it offers: these and no others.',
        takes: ['DEVICE'],
        flags: {
          approve: {
            type: 'string',
            value: 'ROUTES',
            help: 'All of them, such as 10.0.0.0/8,192.168.0.0/24; exit: it is an exit node.',
          },
          none: { type: 'boolean', help: 'No routes.' },
          tailnet: TAILNET,
        },
        command: ([device], values) => ({
          ...{ type: 'device-routes', tailnet: tailnetOf(values), device: device!, routes: deviceRoutes(values) },
        }),
      },
      remove: {
        summary: 'Removes a device. Its addresses are never given to another.',
        takes: ['DEVICE'],
        flags: { tailnet: TAILNET },
        command: ([device], values) => ({ type: 'device-remove', tailnet: tailnetOf(values), device: device! }),
      },
    },
  },
  tailnets: {
    summary: 'Isolated networks on this coordinator',
    entries: {
      list: { summary: 'Lists tailnets.', takes: [], flags: {}, command: () => ({ type: 'tailnet-list' }) },
      create: {
        summary: 'Makes a tailnet. Names in it end in NAME.mote.internal.',
        takes: ['NAME'],
        flags: { approval: APPROVAL, 'key-life': KEY_LIFE },
        command: ([name], values) => ({ type: 'tailnet-create', tailnet: name!, ...tailnetSettings(values) }),
      },
      update: {
        summary: 'Changes what is given, and nothing else.',
        takes: ['NAME'],
        flags: { approval: APPROVAL, 'key-life': KEY_LIFE },
        command: ([name], values) => {
          const settings = tailnetSettings(values);
          if (Object.keys(settings).length === 0)
            throw new UsageError('tailnets update expected --approval or --key-life, got neither');
          return { type: 'tailnet-update', tailnet: name!, ...settings };
        },
      },
      remove: {
        summary: 'Removes a tailnet that has no devices.',
        takes: ['NAME'],
        flags: { force: FORCE },
        command: ([name], values) => ({
          ...{ type: 'tailnet-remove', tailnet: name! },
          ...given('force', values['force'] === true ? true : undefined),
        }),
      },
    },
  },
  users: {
    summary: 'Users, who own devices',
    entries: {
      list: {
        summary: 'Lists users.',
        takes: [],
        flags: { tailnet: TAILNET },
        command: (_, values) => ({ type: 'user-list', tailnet: tailnetOf(values) }),
      },
      create: {
        summary: 'Makes a user. LOGIN is a name such as ann (ann@ in a policy) or ann@example.com.',
        takes: ['LOGIN'],
        flags: { name: { type: 'string', value: 'TEXT', help: 'Name for people.' }, tailnet: TAILNET },
        command: ([login], values) => ({
          ...{ type: 'user-create', tailnet: tailnetOf(values), loginName: login! },
          ...given('displayName', textOf(values, 'name')),
        }),
      },
      rename: {
        summary: 'Gives a user another login name. Rules about the old name no longer mean their devices.',
        takes: ['LOGIN', 'NEW'],
        flags: { tailnet: TAILNET },
        command: ([login, next], values) => ({
          ...{ type: 'user-rename', tailnet: tailnetOf(values), loginName: login!, newLoginName: next! },
        }),
      },
      remove: {
        summary: 'Removes a user who owns no devices.',
        takes: ['LOGIN'],
        flags: { tailnet: TAILNET },
        command: ([login], values) => ({ type: 'user-remove', tailnet: tailnetOf(values), loginName: login! }),
      },
    },
  },
  tokens: {
    summary: 'Tokens, for administration from elsewhere',
    entries: {
      create: {
        summary: 'Makes a token for `--admin URL --token T` and prints it, this once.',
        takes: [],
        flags: {
          expires: {
            type: 'string',
            value: 'TIME',
            help: 'How long it is valid, such as 30m, or never; 90d unless told.',
          },
          server: SERVER,
          description: DESCRIPTION,
          tailnet: TAILNET,
        },
        command: (_, values) => ({
          ...{ type: 'token-create', tailnet: scopeOf(values) },
          ...given('description', textOf(values, 'description')),
          ...given('lifeMs', tokenLife(values)),
        }),
      },
      list: {
        summary: 'Lists tokens.',
        takes: [],
        flags: { server: SERVER, tailnet: TAILNET },
        command: (_, values) => ({ type: 'token-list', tailnet: scopeOf(values) }),
      },
      revoke: {
        summary: 'Makes a token useless.',
        takes: ['ID'],
        flags: { server: SERVER, tailnet: TAILNET },
        command: ([id], values) => ({ type: 'token-revoke', tailnet: scopeOf(values), id: idOf(id!) }),
      },
    },
  },
  policy: { summary: 'Access rules of a tailnet: who may reach what', entries: POLICY_ENTRIES },
} satisfies Record<string, AdminGroup>);

/** An id; of a whole key or token only the id in it. */
function idOf(text: string): string {
  return /^mote-(?:auth|api)-([0-9a-f]{12})-/.exec(text)?.[1] ?? text;
}

/** Life of a token; absent: for ever, which has to be asked for. */
function tokenLife(values: FlagValues): number | undefined {
  if (values['expires'] === 'never') return undefined;
  return durationOf(values, 'expires', LIFE_LIMIT_MS) ?? TOKEN_LIFE_MS;
}

function tagsOf(values: FlagValues): readonly string[] | undefined {
  const tags = values['tag'] as readonly string[] | undefined;
  return tags?.map(text => tagOf('--tag', text));
}

/** Tags as a list with commas, or `--none`. */
function deviceTags(list: string | undefined, values: FlagValues): readonly string[] {
  const isNone = values['none'] === true;
  if (isNone !== (list === undefined))
    throw new UsageError('devices tag expected TAGS, such as server,db, or --none: give one of them');
  return [...new Set(list?.split(',').map(text => tagOf('TAGS', text.trim())))];
}

/** Routes of `--approve`, or `--none`. */
function deviceRoutes(values: FlagValues): readonly string[] {
  const list = textOf(values, 'approve');
  if ((values['none'] === true) !== (list === undefined))
    throw new UsageError('devices routes expected --approve ROUTES or --none: give one of them');
  return list === undefined ? [] : routesOf('--approve', list);
}

function tailnetSettings(values: FlagValues): { requiresApproval?: boolean; keyLifeMs?: number } {
  const approval = textOf(values, 'approval');
  if (approval !== undefined && approval !== 'on' && approval !== 'off')
    throw new UsageError(`--approval expected on or off, got ${quote(approval)}`);
  const isEver = textOf(values, 'key-life') === 'never';
  return {
    ...given('requiresApproval', approval === undefined ? undefined : approval === 'on'),
    ...given('keyLifeMs', isEver ? 0 : durationOf(values, 'key-life', LIFE_LIMIT_MS)),
  };
}
