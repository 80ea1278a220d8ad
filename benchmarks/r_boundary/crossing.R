# How long does a table of 100 000 rows and 8 columns take from R to Python and back?
# Run in the project: R_LIBS=build/r-library RETICULATE_PYTHON=.venv/bin/python Rscript benchmarks/r_boundary/crossing.R
# Writes results.csv beside this file: medians of 15 crossings, in seconds; `cpu` is what the process itself used, which
# other programs on the computer do not inflate as they do `elapsed`.

library(spicestat)
here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)))
internal <- function(name) utils::getFromNamespace(name, "spicestat")

set.seed(1)
n <- 1e5
table <- data.frame(
  participant = sample(sprintf("p%04d", 1:1000), n, TRUE), condition = sample(c("gain", "loss"), n, TRUE),
  choice = sample(letters[1:4], n, TRUE), reward = stats::rnorm(n), rt = stats::rexp(n), cue = stats::runif(n),
  trial = sample(500L, n, TRUE), shown = stats::runif(n) < 0.5
)
table$reward[sample(n, n / 20)] <- NA

seconds <- function(run) {
  times <- replicate(15, {
    gc()
    unclass(system.time(run()))
  })
  elapsed <- times["elapsed", ]
  c(
    cpu = stats::median(times["user.self", ] + times["sys.self", ]),
    elapsed = stats::median(elapsed), least = min(elapsed), most = max(elapsed)
  )
}

invisible(internal("bridge")())
columns <- reticulate::import("spicestat.r.columns", convert = FALSE)
to_python <- function() columns$decode_table(internal("encode_table")(table))
frame <- to_python()
to_r <- function() internal("decode_table")(internal("convert")(columns$encode_table(frame)))
stopifnot(identical(as.data.frame(to_r()), table))

file <- tempfile()
to_file <- function() internal("write_tree")(internal("encode_table")(table), file)
to_file()
from_file <- function() internal("decode_table")(internal("read_tree")(file))
stopifnot(identical(as.data.frame(from_file()), table))

measured <- list(
  "R to Python, data frame to data frame" = to_python, "Python to R, data frame to data frame" = to_r,
  "R to file (engine = subprocess)" = to_file, "file to R (engine = subprocess)" = from_file
)
results <- as.data.frame(do.call(rbind, lapply(measured, seconds)))
results <- data.frame(what = names(measured), round(results, 4), row.names = NULL)
versions <- paste0(
  "R ", getRversion(), ", reticulate ", utils::packageVersion("reticulate"), ", numpy ",
  internal("call_bridge")("version")$numpy
)
results$versions <- versions
print(results)
utils::write.csv(results, file.path(here, "results.csv"), row.names = FALSE)
