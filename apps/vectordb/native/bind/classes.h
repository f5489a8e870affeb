// What each file of the binding adds to the module.
#pragma once

#include <nanobind/nanobind.h>

#include "index.h"

namespace curator::bind {

void bind_changes(nanobind::class_<Index>& index);
void bind_reads(nanobind::module_& module, nanobind::class_<Index>& index);
void bind_search(nanobind::module_& module, nanobind::class_<Index>& index);

}  // namespace curator::bind
