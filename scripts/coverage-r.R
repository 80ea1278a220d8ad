# Test coverage of the R package as covr counts it: run by `make coverage-r` in the repository root.
# The report, line by line, is build/coverage-r.html. A share below 95 % fails.

limit <- 95
# zero_coverage() would ask RStudio, by a package that need not be there
options(covr.rstudio_source_markers = FALSE)
coverage <- covr::package_coverage("r-package", quiet = FALSE)
dir.create("build", showWarnings = FALSE)
covr::report(coverage, "build/coverage-r.html", browse = FALSE)
print(coverage)
for (uncovered in split(covr::zero_coverage(coverage), ~filename)) {
  cat(uncovered$filename[1], ": lines ", toString(unique(uncovered$line)), "\n", sep = "")
}
if (covr::percent_coverage(coverage) < limit) stop("the tests cover less than ", limit, " % of the R code")
