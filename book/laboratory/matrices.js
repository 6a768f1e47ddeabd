/* Matrices as arrays of numbers, row after row, and what the inference does with them.

Factorisations are those of ml-matrix. The products with all frames are written out here: they
take nearly all the time, and need no copy of the arrays that way. */

import { CholeskyDecomposition, EigenvalueDecomposition, Matrix } from "ml-matrix";

const PIECE = 512; // frames that stay in the cache

/** A·Bᵀ of two matrices with as many columns: sums over all frames. */
export function outer(a, b, rows, columns, frames) {
  const out = new Float64Array(rows * columns);
  const alike = a === b;
  for (let from = 0; from < frames; from += PIECE) {
    const count = Math.min(PIECE, frames - from);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < (alike ? i + 1 : columns); j += 4) { // four sums share what they read
        const p = i * frames + from;
        const q = j * frames + from;
        const [q1, q2, q3] = [1, 2, 3].map((k) => Math.min(j + k, columns - 1) * frames + from);
        let [s0, s1, s2, s3] = [0, 0, 0, 0];
        for (let t = 0; t < count; t++) {
          const value = a[p + t];
          s0 += value * b[q + t];
          s1 += value * b[q1 + t];
          s2 += value * b[q2 + t];
          s3 += value * b[q3 + t];
        }
        const at = i * columns + j;
        out[at] += s0;
        if (j + 1 < columns) out[at + 1] += s1;
        if (j + 2 < columns) out[at + 2] += s2;
        if (j + 3 < columns) out[at + 3] += s3;
      }
    }
  }
  for (let i = 0; alike && i < rows; i++) {
    for (let j = 0; j < i; j++) out[j * columns + i] = out[i * columns + j];
  }
  return out;
}

/** A·B, where B has a column for every frame. */
export function product(a, b, rows, inner, frames) {
  const out = new Float64Array(rows * frames);
  for (let from = 0; from < frames; from += PIECE) {
    const count = Math.min(PIECE, frames - from);
    for (let i = 0; i < rows; i++) {
      const p = i * frames + from;
      for (let j = 0; j < inner; j += 4) { // one pass over the sums adds four terms to each
        const places = [0, 1, 2, 3].map((k) => Math.min(j + k, inner - 1));
        const [w0, w1, w2, w3] = places.map((k, at) => (k === j + at ? a[i * inner + k] : 0));
        const [q0, q1, q2, q3] = places.map((k) => k * frames + from);
        for (let t = 0; t < count; t++) {
          out[p + t] += w0 * b[q0 + t] + w1 * b[q1 + t] + w2 * b[q2 + t] + w3 * b[q3 + t];
        }
      }
    }
  }
  return out;
}

export function transposed(a, rows, columns) {
  const out = new Float64Array(a.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) out[j * rows + i] = a[i * columns + j];
  }
  return out;
}

/** The solution x of A·x = b for a symmetric, positive definite A; null if A is not. */
export function solve(a, b) {
  const factor = cholesky(a, b.length);
  return factor && Float64Array.from(factor.solve(Matrix.columnVector(b)).to1DArray());
}

/** The inverse of a symmetric, positive definite matrix; null if it is not. */
export function inverse(a, size) {
  const factor = cholesky(a, size);
  return factor && Float64Array.from(factor.solve(Matrix.eye(size)).to1DArray());
}

/** The v that maximises vᵀAv / vᵀBv, both symmetric, B positive definite. */
export function largestRatio(a, b, size) {
  const lower = cholesky(b, size).lowerTriangularMatrix;
  const half = forward(lower, Matrix.from1DArray(size, size, Array.from(a)));
  const ratio = forward(lower, half.transpose());
  const { eigenvectorMatrix } = new EigenvalueDecomposition(ratio, { assumeSymmetric: true });
  const best = eigenvectorMatrix.getColumn(size - 1);
  for (let i = size - 1; i >= 0; i--) {
    for (let k = i + 1; k < size; k++) best[i] -= lower.get(k, i) * best[k];
    best[i] /= lower.get(i, i);
  }
  return Float64Array.from(best);
}

function cholesky(a, size) {
  const matrix = Matrix.from1DArray(size, size, Array.from(a));
  for (let i = 0; i < size; i++) { // ml-matrix refuses what rounding has made asymmetric
    for (let j = 0; j < i; j++) matrix.set(j, i, matrix.get(i, j));
  }
  const factor = new CholeskyDecomposition(matrix);
  return factor.isPositiveDefinite() ? factor : null;
}

/** L⁻¹·B for a lower triangular L. */
function forward(lower, b) {
  const out = b.clone();
  for (let i = 0; i < lower.rows; i++) {
    for (let k = 0; k < i; k++) {
      const factor = lower.get(i, k);
      for (let j = 0; j < out.columns; j++) out.set(i, j, out.get(i, j) - factor * out.get(k, j));
    }
    for (let j = 0; j < out.columns; j++) out.set(i, j, out.get(i, j) / lower.get(i, i));
  }
  return out;
}
