/**
 * Program that prints shape and layout of the graphs on its input, for the comparison with `covalab.view`.
 */
import { readFileSync } from 'node:fs';
import { labelsOf } from '../src/graph/labels';
import { place, rank } from '../src/graph/layout';
import { shapeOf } from '../src/graph/shape';
import type { Edge, Node } from '../src/wire';

interface ITask {
  readonly nodes: Node[];
  readonly edges: Edge[];
  readonly everything: boolean;
  readonly threshold: number;
}

const tasks = JSON.parse(readFileSync(0, 'utf8')) as ITask[];
const answers = tasks.map(({ nodes, edges, everything, threshold }) => {
  const { units, edges: joined, hidden } = shapeOf(nodes, edges, { everything, threshold });
  const ranks = rank({ count: units.length, edges: joined });
  const places = place(
    ranks,
    units.map((_, at) => 20 + (at % 3) * 13),
    7
  );
  return {
    units: units.map(({ kind, members }) => [kind, members]),
    edges: joined,
    hidden,
    labels: [...labelsOf(nodes, edges)].sort(([a], [b]) => a - b),
    layers: ranks.layers,
    routes: ranks.routes,
    across: places.across,
    breadth: places.breadth
  };
});
process.stdout.write(JSON.stringify(answers));
