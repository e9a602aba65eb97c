/**
 * Work in slices: a computation that yields now and then, so that the page can answer between two slices.
 */

/** Milliseconds of one slice. */
const SLICE = 12;

/** Steps of a computation; what they yield means nothing. */
export type Steps<T> = Generator<undefined, T, undefined>;

/** Run all steps at once. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) {
      return value;
    }
  }
}

/** Run the steps in slices; null when `isWanted` says in between that the result is not needed any more. */
export async function inSlices<T>(steps: Steps<T>, isWanted: () => boolean): Promise<T | null> {
  let start = performance.now();
  for (;;) {
    const { done, value } = steps.next();
    if (done) {
      return value;
    }
    if (performance.now() - start > SLICE) {
      await new Promise(resolve => setTimeout(resolve));
      if (!isWanted()) {
        return null;
      }
      start = performance.now();
    }
  }
}

/** Runs one computation at a time: a new one ends the one before. */
export class Latest {
  dispose(): void {
    this._number++;
  }

  /** Take all steps, in slices if asked for; `use` gets the result, unless another computation has begun meanwhile. */
  run<T>(sliced: boolean, steps: Steps<T>, use: (result: T) => void): void {
    const number = ++this._number;
    if (!sliced) {
      use(atOnce(steps));
      return;
    }
    void inSlices(steps, () => number === this._number).then(result => {
      if (result !== null && number === this._number) {
        use(result);
      }
    });
  }

  private _number = 0;
}
