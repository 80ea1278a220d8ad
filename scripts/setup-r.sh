#!/usr/bin/env bash
# Install R and the R packages that the tests, the checks and the vignettes need; only what is missing.
set -euo pipefail

packages=(reticulate generics tibble rlang cli ggplot2 nlme testthat knitr rmarkdown roxygen2 lintr metafor lme4 lmerTest glmmTMB
  brms emmeans car lmtest multcomp mvtnorm insight parameters performance ggeffects posterior bayesplot loo broom broom.mixed jsonlite processx covr pkgdown dplyr)

missing_packages() {
  Rscript --vanilla -e 'wanted <- commandArgs(TRUE)
    cat(wanted[!nzchar(vapply(wanted, function(p) system.file(package = p), ""))])' "${packages[@]}"
}

have() { command -v "$1" >/dev/null; }

# R loads Python as a shared library, which Debian ships in a package of its own
has_shared_library() {
  [ ! -x .venv/bin/python ] || .venv/bin/python -c 'import os, sysconfig
folder, name = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")
raise SystemExit(not (name.endswith((".so", ".dylib", ".1.0")) and os.path.exists(os.path.join(folder, name))))'
}

cd "$(dirname "$0")/.."
if ! has_shared_library; then
  version=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  if have apt-get && [ "$(id -u)" = 0 ]; then
    echo "setup: apt-get install libpython$version"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "libpython$version" >/dev/null
  fi
  has_shared_library || {
    echo "setup: R cannot load this Python ($(.venv/bin/python -c 'import sys; print(sys.base_prefix)')): it has no shared" \
      "library. Install libpython$version, or build Python with --enable-shared, and run 'make clean setup'." >&2
    exit 1
  }
fi

missing=${packages[*]}
if have Rscript; then missing=$(missing_packages); fi
# R CMD check warns without qpdf
if have Rscript && have pandoc && have qpdf && [ -z "$missing" ]; then exit 0; fi

if have apt-get && [ "$(id -u)" = 0 ]; then
  debs=()
  have Rscript || debs+=(r-base-core r-base-dev)
  have pandoc || debs+=(pandoc)
  have qpdf || debs+=(qpdf)
  for package in $missing; do debs+=("r-cran-${package,,}"); done
  echo "setup: apt-get install ${debs[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${debs[@]}" >/dev/null
elif have Rscript; then
  have pandoc || echo "setup: pandoc is missing; the vignettes cannot be rendered without it" >&2
  have qpdf || echo "setup: qpdf is missing; 'make check-r' cannot pass without it" >&2
  if [ -n "$missing" ]; then
    echo "setup: installing R packages from CRAN: $missing"
    Rscript --vanilla -e 'target <- Sys.getenv("R_LIBS_USER")
      dir.create(target, recursive = TRUE, showWarnings = FALSE)
      install.packages(commandArgs(TRUE), lib = target, repos = "https://cloud.r-project.org")' $missing
  fi
else
  cat >&2 <<MESSAGE
setup: R is missing, and this script can install it only as root on Debian or Ubuntu.
  Install R 4.2 or later (https://cran.r-project.org), pandoc and qpdf, then run 'make setup-r' again:
  it installs the R packages itself (${packages[*]}).
  The Python engine needs no R: 'make demo' and 'make test-python' work as they are.
MESSAGE
  exit 1
fi

missing=$(missing_packages)
if [ -n "$missing" ]; then
  echo "setup: these R packages could not be installed: $missing" >&2
  exit 1
fi
echo "setup: R is ready"
