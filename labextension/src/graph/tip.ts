/**
 * Tip of the graph: what the pointer is on, in words, and where the tip has room.
 */
import { h } from '../dom';
import { describeCounts, prettyName, statusLabel } from '../text';
import { countMembers } from './boxStates';
import { captionOf, type IPicture } from './paint';
import type { IBox } from './scene';
import { isPlumbing } from './shape';

/** Return the content of the tip of a box, or of a member of an open group. */
export function tipOf({ unit, cells }: IBox, member: number | null, { nodes, states, nameOf, now }: Pick<IPicture, 'nodes' | 'states' | 'nameOf' | 'now'>): HTMLElement[] {
  const node = member ?? unit.members[0];
  const [name, kind] = nodes[node];
  if (unit.kind === 'group' && member === null) {
    const counts = describeCounts(countMembers(unit.members, states)).join(' · ');
    return [h('strong', { text: `${prettyName(name, kind)} ×${unit.members.length}` }), h('span', { text: `${counts}\n${cells.length > 0 ? 'Click to fold' : 'Click to open'}` })];
  }
  const state = states.get(node);
  const caption = isPlumbing(kind) ? '' : ` · ${statusLabel(state?.[1] ?? 'pending')} · ${captionOf(state, now, kind)}`;
  return [h('strong', { text: nameOf(node) }), h('span', { text: `Node ${node}${caption}` })];
}

/** Put a tip beside a point, within a window of this size. */
export function placeTip(tip: HTMLElement, { x, y }: { readonly x: number; readonly y: number }, size: { readonly width: number; readonly height: number }): void {
  const { offsetWidth, offsetHeight } = tip;
  tip.style.left = `${Math.max(4, Math.min(x + 14, size.width - offsetWidth - 6))}px`;
  tip.style.top = `${y + 18 + offsetHeight > size.height ? Math.max(4, y - offsetHeight - 10) : y + 18}px`;
}
