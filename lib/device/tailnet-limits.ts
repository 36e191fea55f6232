/** What a member of a tailnet may hold, in two presets. */
import { DERP_CLIENT_LIMITS_LARGE, DERP_CLIENT_LIMITS_SMALL } from '../derp/client-types.ts';
import { NAME_LIMITS_LARGE, NAME_LIMITS_SMALL } from '../dns/limits.ts';
import { FILTER_LIMITS_LARGE, FILTER_LIMITS_SMALL } from '../filter/limits.ts';

/**
 * By preset: peers in use, relays at a time, bytes of a stream handled in one go, those of the parts, and whether names
 * have an index of their own beside the netmap.
 */
export const TAILNET_LIMITS = /* @__PURE__ */ Object.freeze({
  small: Object.freeze({
    peers: 16,
    links: 2,
    chunkBytes: 1024,
    derp: DERP_CLIENT_LIMITS_SMALL,
    filter: FILTER_LIMITS_SMALL,
    names: NAME_LIMITS_SMALL,
    indexesNames: false,
  }),
  large: Object.freeze({
    peers: 10_000,
    links: 32,
    chunkBytes: 65_536,
    derp: DERP_CLIENT_LIMITS_LARGE,
    filter: FILTER_LIMITS_LARGE,
    names: NAME_LIMITS_LARGE,
    indexesNames: true,
  }),
});
