# The real data from R: Rscript benchmarks/real_data/fit.R trials.csv.gz model group.csv coefficients.csv
library(spicestat)
paths <- commandArgs(trailingOnly = TRUE)
trials <- read.csv(paths[1])
fit <- spice_fit(trials, participant = participant, block = block, choice = choice, reward = reward, model = paths[2])
grp <- spice_group(fit, ~diagnosis)
exact <- function(table, path) {
  numbers <- vapply(table, is.double, logical(1))
  table[numbers] <- lapply(table[numbers], function(x) ifelse(is.na(x), NA, sprintf("%.17g", x)))
  write.csv(table, path, row.names = FALSE, na = "")
}
exact(tidy(grp, conf.int = TRUE), paths[3])
exact(tidy(fit), paths[4])
