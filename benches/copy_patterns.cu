// How fast memory is at its best where 27 bytes are read for every 32 that are written, as in decoding
// F32: copies by persistent warps, in tasks as large as blocks, with more or less under way.
//
//   nvcc -arch=sm_90 -std=c++17 -o copy_patterns benches/copy_patterns.cu && ./copy_patterns
//
// Prints GB/s of written bytes, medians of 11 runs.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <vector>

#include <cuda_runtime.h>

constexpr uint32_t UNIT_BYTES = 512;
constexpr uint32_t VECTORS = UNIT_BYTES / sizeof(uint4);
constexpr int MULTIPROCESSORS_WARPS = 4;

// Of 32 units that are written, 27 are read.
__host__ __device__ constexpr uint32_t read_of(uint32_t written) { return written * 27 / 32; }

// DEPTH units are loaded before the first of them is stored; STREAMING stores pass the caches.
template <int DEPTH, bool STREAMING>
__global__ void copy(const uint4* in, uint4* out, uint32_t tasks, uint32_t units) {
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t warp = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  const uint32_t warps = gridDim.x * blockDim.x / 32;
  for (uint32_t task = warp; task < tasks; task += warps) {
    const uint4* from = in + uint64_t(task) * read_of(units) * VECTORS;
    uint4* to = out + uint64_t(task) * units * VECTORS;
    uint4 held[DEPTH];
    for (uint32_t unit = 0; unit < units; unit += DEPTH) {
#pragma unroll
      for (int d = 0; d < DEPTH; d++) {
        const uint32_t at = read_of(unit + d);
        const bool reads = read_of(unit + d + 1) != at;
        held[d] = reads ? __ldg(from + at * VECTORS + lane) : make_uint4(unit, unit, unit, unit);
      }
#pragma unroll
      for (int d = 0; d < DEPTH; d++) {
        uint4* target = to + (unit + d) * VECTORS + lane;
        if (STREAMING) {
          __stcs(target, held[d]);
        } else {
          *target = held[d];
        }
      }
    }
  }
}

template <class Run>
float median_milliseconds(Run run) {
  cudaEvent_t start, stop;
  cudaEventCreate(&start);
  cudaEventCreate(&stop);
  std::vector<float> times;
  for (int number = 0; number < 13; number++) {
    cudaEventRecord(start);
    run();
    cudaEventRecord(stop);
    cudaEventSynchronize(stop);
    float milliseconds;
    cudaEventElapsedTime(&milliseconds, start, stop);
    if (number > 1) times.push_back(milliseconds);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

template <int DEPTH, bool STREAMING>
void measure(const char* in, char* out, uint64_t bytes, uint32_t task_bytes, int blocks) {
  const uint32_t tasks = bytes / task_bytes, units = task_bytes / UNIT_BYTES;
  const float milliseconds = median_milliseconds([&] {
    copy<DEPTH, STREAMING><<<blocks, 128>>>((const uint4*)in, (uint4*)out, tasks, units);
  });
  printf("  %d%s %.0f", DEPTH, STREAMING ? " streaming" : "", bytes / milliseconds / 1e6);
}

int main() {
  const uint64_t bytes = 1ull << 30;
  int multiprocessors = 0;
  cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0);
  char *in, *out;
  cudaMalloc(&in, bytes);
  cudaMalloc(&out, bytes);
  cudaMemset(in, 1, bytes);
  printf("units of 512 bytes that are loaded before one is stored, and GB/s\n");
  for (uint32_t task_bytes : {8u << 10, 16u << 10, 64u << 10, 256u << 10}) {
    for (int warps : {8, 12, 16, 24, 32, 48, 64}) {
      const int blocks = multiprocessors * warps / MULTIPROCESSORS_WARPS;
      printf("tasks of %u KiB, %d warps:", task_bytes >> 10, warps);
      measure<1, false>(in, out, bytes, task_bytes, blocks);
      measure<2, false>(in, out, bytes, task_bytes, blocks);
      measure<4, false>(in, out, bytes, task_bytes, blocks);
      measure<8, false>(in, out, bytes, task_bytes, blocks);
      measure<4, true>(in, out, bytes, task_bytes, blocks);
      measure<8, true>(in, out, bytes, task_bytes, blocks);
      printf("\n");
    }
  }
  const uint64_t half = bytes / 2;
  const float copied =
      median_milliseconds([&] { cudaMemcpyAsync(out, in, half, cudaMemcpyDeviceToDevice); });
  printf("cudaMemcpy within the device: %.0f\n", half / copied / 1e6);
  printf("%s\n", cudaGetErrorString(cudaDeviceSynchronize()));
}
