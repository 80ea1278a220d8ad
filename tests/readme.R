# Run the R examples of the READMEs as they stand, with the installed package: Rscript tests/readme.R
example_of <- function(readme) {
  lines <- readLines(readme)
  start <- which(lines == "```r")
  stopifnot(length(start) == 1)
  end <- start + which(lines[-seq_len(start)] == "```")[1]
  parse(text = lines[(start + 1):(end - 1)])
}

known <- list()

# what both examples say in the same words is run once
run <- function(call, where) {
  words <- deparse1(call)
  if (!words %in% names(known)) {
    known[[words]] <<- list(eval(call, where))
  } else if (identical(call[[1]], as.name("<-"))) {
    assign(as.character(call[[2]]), known[[words]][[1]], where)
  }
  known[[words]][[1]]
}

grDevices::pdf(NULL)
for (readme in c("README.md", "r-package/README.md")) {
  results <- new.env(parent = globalenv())
  for (call in example_of(readme)) print(run(call, results))
  # the example's patients were simulated with a lower learning rate
  effect <- subset(
    tidy(results$grp, conf.int = TRUE),
    component == "x_learning_rate_reward" & term == "diagnosispatient"
  )
  stopifnot(nrow(effect) == 1, effect$conf.high < 0)
  cat(readme, ": R example passed\n", sep = "")
}

# vignettes that it names are installed
installed <- utils::vignette(package = "spicestat")$results[, "Item"]
stopifnot(setequal(installed, c("spicestat", "own-models")))
